"""Send a recording to `edgeseq serve` at the pace of speech, and print the words as they come (the protocol of vosk-server).

edgeseq serve --vosk 127.0.0.1:2700
python3 docs/examples/websocket_client.py demo/number.flac

Needs `pip install websockets soundfile`, and nothing of edgeseq. --fast sends without waiting.
"""

import argparse
import json
import signal
import sys
import time

try:
    import soundfile
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
except ImportError as missing:
    sys.exit(f"websocket_client.py needs {missing.name}: pip install websockets soundfile")

BLOCK_SECONDS = 0.1


def arguments():
    parser = argparse.ArgumentParser(description="Print what a server hears in a recording.")
    parser.add_argument("recording", help="WAV, FLAC, Ogg or MP3")
    parser.add_argument("--url", default="ws://127.0.0.1:2700")
    parser.add_argument("--fast", action="store_true", help="as fast as the server answers")
    return parser.parse_args()


def show(answer):
    """Print partials on standard error, over one another, and finals on standard output."""
    if "partial" in answer:
        print(f"\r\033[K{answer['partial']}", end="", file=sys.stderr, flush=True)
    elif answer.get("text"):
        print("\r\033[K", end="", file=sys.stderr, flush=True)
        print(answer["text"], flush=True)


def send(sound, socket, pause):
    """Send blocks of 16-bit samples of the first channel; each has one answer."""
    socket.send(json.dumps({"config": {"sample_rate": sound.samplerate}}))
    for block in sound.blocks(round(BLOCK_SECONDS * sound.samplerate), dtype="int16", always_2d=True):
        socket.send(block[:, 0].tobytes())
        show(json.loads(socket.recv()))
        time.sleep(pause)
    socket.send('{"eof": 1}')
    show(json.loads(socket.recv()))


def main():
    args = arguments()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it quietly
    try:
        with soundfile.SoundFile(args.recording) as sound, connect(args.url) as socket:
            send(sound, socket, 0 if args.fast else BLOCK_SECONDS)
    except soundfile.SoundFileError as fault:
        sys.exit(f"websocket_client.py: {fault}")
    except (OSError, WebSocketException) as fault:
        sys.exit(f"websocket_client.py: {args.url}: {fault}. Is a server there? edgeseq serve --vosk 127.0.0.1:2700")


if __name__ == "__main__":
    main()
