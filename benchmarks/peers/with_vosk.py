"""Transcribes with Vosk: reads one path per line, writes one line of JSON for each.

python3 with_vosk.py FOLDER_OF_THE_MODEL
"""

import json
import sys
import wave

from vosk import KaldiRecognizer, Model, SetLogLevel

BLOCK = 4000
"""samples, as in Vosk's own examples"""

SetLogLevel(-1)
model = Model(sys.argv[1])

for line in sys.stdin:
    path = line.rstrip("\n")
    texts = []
    with wave.open(path) as recording:
        recognizer = KaldiRecognizer(model, recording.getframerate())
        while block := recording.readframes(BLOCK):
            if recognizer.AcceptWaveform(block):
                texts.append(json.loads(recognizer.Result())["text"])
    texts.append(json.loads(recognizer.FinalResult())["text"])
    print(json.dumps({"audio_filepath": path, "text": " ".join(text for text in texts if text)}), flush=True)
