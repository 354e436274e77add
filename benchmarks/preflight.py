"""Measures how long a training waits for its data: first start, second start, second process.

Writes a paired manifest of `--pairs` lines (two prompts a target, so half as many utterances with
four arrays each) into a temporary directory, then runs manifest reading and preflight twice with
one cache file, as two starts of a training would. The arrays are small; a first start on real
data reads more bytes, a later one does the same work as here.

    python benchmarks/preflight.py --pairs 150000
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unbroken_tts.data.facts_cache import FactsCache
from unbroken_tts.data.limits import Limits
from unbroken_tts.data.manifest import load_pairs
from unbroken_tts.data.preflight import preflight

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Limits(
    vocabulary=12_000,
    start_mel_token=8192,
    max_text_tokens=600,
    max_mel_tokens=1815,
    condition_rows=4,
    model_dim=16,
)
FILES_PER_SPEAKER = 100


def write_set(directory: Path, pairs: int) -> Path:
    """Write a paired manifest and its arrays; return the manifest."""
    utterances = max(pairs // 2, FILES_PER_SPEAKER)
    utterances -= utterances % FILES_PER_SPEAKER
    generator = np.random.default_rng(0)
    kinds: dict[str, Callable[[], Any]] = {
        "text_ids": lambda: generator.integers(3, 12_000, 40, dtype=np.int32),
        "codes": lambda: generator.integers(0, 8192, 200, dtype=np.int32),
        "condition": lambda: generator.standard_normal((4, 16), dtype=np.float32),
        "emo_vec": lambda: generator.standard_normal(16, dtype=np.float32),
    }
    for kind, array in kinds.items():
        folder = directory / "features" / kind
        folder.mkdir(parents=True)
        for utterance in range(utterances):
            np.save(folder / f"utterance_{utterance:06d}.npy", array())
    manifest = directory / "train_pairs.jsonl"
    with manifest.open("w", encoding="utf-8", newline="\n") as file:
        for pair in range(pairs):
            target = pair // 2 % utterances
            first = target - target % FILES_PER_SPEAKER
            prompt = first + (target + 1 + pair % 2) % FILES_PER_SPEAKER
            file.write(json.dumps(line(target, prompt)) + "\n")
    return manifest


def line(target: int, prompt: int) -> dict[str, object]:
    """Return one line of the manifest, with all the fields the pairing tool writes."""
    target_id, prompt_id = f"utterance_{target:06d}", f"utterance_{prompt:06d}"
    return {
        "id": f"{target_id}__{prompt_id}",
        "speaker": f"speaker{target // FILES_PER_SPEAKER}",
        "prompt_id": prompt_id,
        "prompt_audio_path": f"wav/{prompt_id}.wav",
        "prompt_condition_path": f"features/condition/{prompt_id}.npy",
        "prompt_condition_len": 32,
        "prompt_emo_vec_path": f"features/emo_vec/{prompt_id}.npy",
        "prompt_duration": None,
        "target_id": target_id,
        "target_audio_path": f"wav/{target_id}.wav",
        "target_text": "a text as long as texts are in such a manifest, about eighty letters or so",
        "target_text_ids_path": f"features/text_ids/{target_id}.npy",
        "target_text_len": 40,
        "target_codes_path": f"features/codes/{target_id}.npy",
        "target_code_len": 200,
        "target_emo_vec_path": f"features/emo_vec/{target_id}.npy",
    }


def start(manifest: Path, cache: Path) -> float:
    """Do what a start of a training does with its data; print and return the seconds."""
    begin = time.perf_counter()
    pairs = load_pairs([str(manifest)])
    loaded = time.perf_counter()
    checked = preflight(pairs, LIMITS, cache)
    end = time.perf_counter()
    print(
        f"manifest {loaded - begin:6.2f} s   preflight {end - loaded:6.2f} s   "
        f"ready after {end - begin:6.2f} s   ({len(checked.pairs)} pairs, {checked.arrays} arrays, "
        f"{checked.arrays_read} read)   {checked.fingerprint}"
    )
    return end - begin


def stat_ways(manifest: Path) -> None:
    """Compare two ways of asking for size, mtime and inode of every file."""
    features = manifest.parent / "features"
    begin = time.perf_counter()
    names = [entry.path for folder in features.iterdir() for entry in os.scandir(folder)]
    listed = time.perf_counter()
    for name in names:
        os.stat(name)  # noqa: PTH116 - what is measured
    each = time.perf_counter()
    for folder in features.iterdir():
        for entry in os.scandir(folder):
            entry.stat()
    scanned = time.perf_counter()
    print(
        f"listing {listed - begin:.2f} s, os.stat of {len(names)} files {each - listed:.2f} s, "
        f"os.scandir with stat {scanned - each:.2f} s"
    )


def main() -> None:
    """Write the set, start twice, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=150_000, help="lines of the manifest")
    parser.add_argument("--directory", type=Path, help="where to write; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as temporary:
        begin = time.perf_counter()
        manifest = write_set(Path(temporary), arguments.pairs)
        print(f"wrote {arguments.pairs} pairs in {time.perf_counter() - begin:.1f} s")
        cache = Path(temporary) / "array_facts"
        first = start(manifest, cache)
        later = [start(manifest, cache) for _ in range(3)]
        print(
            f"a later start takes {min(later):.2f} s, the first {first / min(later):.1f} times that"
        )
        begin = time.perf_counter()
        FactsCache.read(cache)
        print(f"reading the cache alone: {time.perf_counter() - begin:.2f} s")
        stat_ways(manifest)


if __name__ == "__main__":
    main()
