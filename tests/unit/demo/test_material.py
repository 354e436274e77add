from __future__ import annotations

from unbroken_tts.corpus.sentences import load_sentences
from unbroken_tts.demo.material import recurring


def test_the_sentences_kept_are_those_whose_words_recur() -> None:
    """A lone sentence goes first; the order of the others stays."""
    sentences = ["a b c።", "x y z።", "b c d።", "a c d።"]
    assert ["a b c።", "b c d።", "a c d።"] == recurring(sentences, 3)


def test_words_of_the_chosen_sentences_recur_more_often() -> None:
    """Half of the Amharic sentences have well under half of the words."""
    every = load_sentences("am")
    chosen = recurring(every, 200)
    assert 200 == len(chosen)
    words = [{word for each in side for word in each.split()} for side in (every, chosen)]
    assert 0.45 * len(words[0]) > len(words[1])
