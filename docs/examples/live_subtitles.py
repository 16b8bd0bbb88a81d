"""Live subtitles: keeps the last words in a text file, for programs that show one and look when it changes.

edgeseq listen --format jsonl | python3 docs/examples/live_subtitles.py subtitles.txt

In OBS Studio, add a source "Text" that reads subtitles.txt. ffmpeg: -vf drawtext=textfile=subtitles.txt:reload=1
"""

import json
import signal
import sys
import threading
from pathlib import Path

SHOWN_SECONDS = 6  # after the last word
LETTERS = 42  # of a line


def last_lines(text, n_lines=2):
    """Break a text into lines; returns the last ones."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LETTERS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines[-n_lines:])


def show(path, text):
    """Replace the file at once, so that nobody reads half of it."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(f"{text}\n", encoding="utf-8")
    new.replace(path)


def main():
    if len(sys.argv) != 2:
        sys.exit("live_subtitles.py: name the file to write: live_subtitles.py subtitles.txt")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends `edgeseq listen`; its last words still arrive here
    path = Path(sys.argv[1])
    clear = threading.Timer(0, show, (path, ""))
    for event in map(json.loads, sys.stdin):
        if "text" in event:  # partials and finals; gaps have none
            clear.cancel()
            show(path, last_lines(event["text"]))
            clear = threading.Timer(SHOWN_SECONDS, show, (path, ""))
            clear.start()


if __name__ == "__main__":
    try:
        main()
    except json.JSONDecodeError:
        sys.exit("live_subtitles.py: wants JSON lines on standard input, as `edgeseq listen --format jsonl` prints them")
    except OSError as fault:
        sys.exit(f"live_subtitles.py: {fault}")
