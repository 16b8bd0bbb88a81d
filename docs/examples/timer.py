"""A kitchen timer: "set a timer for five minutes", "cancel the timer". Numbers in phrases arrive as numbers.

python3 docs/examples/timer.py                   listens to the microphone
python3 docs/examples/timer.py speech.wav        or to a file; - is standard input
"""

import sys
import threading
import time
from pathlib import Path

import edgeseq
from edgeseq.phrases import load_phrases
from edgeseq.sound.audio import read_blocks
from edgeseq.sound.microphone import Microphone

PHRASES = Path(__file__).with_name("timer.yaml")


class Timer(threading.Thread):
    """Counts down beside the recognizer, until its time is up or it is cancelled."""

    def __init__(self, seconds):
        super().__init__()
        self.end = time.monotonic() + seconds
        self.cancelled = threading.Event()

    def run(self):
        while (left := round(self.end - time.monotonic())) > 0:
            print(f"{left // 60}:{left % 60:02d}", end="\r", flush=True)
            if self.cancelled.wait(1):
                return print("Timer cancelled.")
        return print("Time is up!\a")


def act(final, timers):
    """Do what a final asks for; `timers` are those that were started."""
    if final.intent == "timer":
        seconds = 60 * final.slots.get("minutes", 0) + final.slots.get("seconds", 0)
        print(f"Timer of {seconds} seconds started.")
        timers.append(Timer(seconds))
        timers[-1].start()
    if final.intent == "cancel":
        for timer in timers:
            timer.cancelled.set()


def listen(events):
    timers = []
    try:
        for event in events:
            if event.type == "final":
                act(event, timers)
        while any(timer.is_alive() for timer in timers):  # a file has ended; its timers have not
            time.sleep(0.1)
    except KeyboardInterrupt:
        for timer in timers:
            timer.cancelled.set()


def main():
    recognizer = edgeseq.load("english-small")
    recognizer = recognizer.with_decoder(load_phrases(PHRASES, recognizer.metadata))
    if len(sys.argv) > 1:
        listen(recognizer.follow(read_blocks(sys.argv[1], recognizer.sample_rate)))
    else:
        with Microphone(None, recognizer.sample_rate) as microphone:
            listen(recognizer.follow(microphone.blocks()))


if __name__ == "__main__":
    try:
        main()
    except edgeseq.EdgeseqError as fault:
        sys.exit(f"timer.py: {fault}")
