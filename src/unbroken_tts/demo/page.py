"""Writes one self-contained HTML page: table, plot, audio players."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from unbroken_tts.demo.story import Story

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
       color: #1c2430; background: #fff; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid #dde3ea; }
th { background: #f3f6f9; } td.digest { font-family: ui-monospace, monospace; font-size: .85em; }
.equal { color: #14693a; font-weight: 600; } .differs { color: #b3321e; font-weight: 700; }
audio { width: 15rem; height: 2.2rem; } img { max-width: 100%; } .quiet { color: #5b6673; }
"""


def write_page(path: Path, story: Story, picture: bytes) -> None:
    """Write the page.

    Args:
        path: The file; replaced if it exists.
        story: The results of the demo.
        picture: The curves as PNG.
    """
    scale = story.scale
    body = [
        "<h1>Killed, resumed, and the same to the last bit</h1>",
        f'<p class="quiet">{_verdict(story)}</p>',
        (
            "<p>A small base was trained on English, its vocabulary extended with Ethiopic letters "
            f"({story.base_rows} base rows frozen), and trained on Amharic for {scale.steps} steps: "
            f"once without interruption (A), once killed {len(story.runs.kills)} times without warning "
            "and resumed with the same command and other numbers of workers (B). C restarted from "
            f"the weights alone, from step {story.runs.naive_from} of B.</p>"
        ),
        "<h2>When B was killed</h2><ol>",
        *(f"<li>{html.escape(kill.words)}</li>" for kill in story.runs.kills),
        "</ol>",
        "<h2>The proof</h2>",
        *_table(story),
        "<h2>The loss</h2>",
        f'<img alt="Loss curves of A, B and C" src="data:image/png;base64,{_base64(picture)}">',
        (
            '<p class="quiet">B coincides with A. C is another run: its optimiser, learning rate and '
            "order of samples started over. Its curve jumps, and whether it ends above or below says "
            "nothing about the run that was lost.</p>"
        ),
        "<h2>The voice</h2>",
        *(f"<p>{html.escape(line)}</p>" for line in story.judged()),
        *_players(story),
        (
            '<p class="quiet">The recordings are by espeak-ng. The voices speak greedily, through a '
            "code book of 512 entries and Griffin-Lim: buzzy by construction. This is a proof of exact "
            "resuming and of speech that follows the text, not of sound quality.</p>"
        ),
    ]
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>unbroken: demo</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
    path.write_text(text, encoding="utf-8", newline="\n")


def _verdict(story: Story) -> str:
    equal = sum(row.is_equal for row in story.rows)
    word = "A and B are equal" if story.is_proved else "A and B DIFFER"
    return f"{word}: {equal} of {len(story.rows)} comparisons agree. Kill seed {story.kill_seed}."


def _table(story: Story) -> list[str]:
    lines = ["<table><tr><th>compared</th><th>how much</th><th>A</th><th>B</th><th></th></tr>"]
    for row in story.rows:
        word = "equal" if row.is_equal else "differs"
        lines.append(
            f"<tr><td>{html.escape(row.what)}</td><td>{html.escape(row.size)}</td>"
            f'<td class="digest">{row.first}</td><td class="digest">{row.second}</td>'
            f'<td class="{word}">{word}</td></tr>'
        )
    return [*lines, "</table>"]


def _players(story: Story) -> list[str]:
    lines = [
        "<table><tr><th>sentence</th><th>recording</th><th>A</th><th>B</th><th></th></tr>",
    ]
    for a, b in zip(story.speech["A"], story.speech["B"], strict=True):
        kind = "trained on" if a.sentence.is_trained else "never seen"
        word = "equal" if a.digest == b.digest else "differs"
        lines.append(
            f'<tr><td lang="am">{html.escape(a.sentence.text)}<br>'
            f'<span class="quiet">{kind}</span></td>'
            f"<td>{_player(a.sentence.recording)}</td><td>{_player(a.file)}</td>"
            f'<td>{_player(b.file)}</td><td class="{word}">{word}</td></tr>'
        )
    return [*lines, "</table>"]


def _player(file: Path) -> str:
    sound = _base64(file.read_bytes())
    return f'<audio controls preload="none" src="data:audio/wav;base64,{sound}"></audio>'


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
