"""Publish what was meant to an MQTT broker: one message per final, at edgeseq/INTENT.

edgeseq listen --model english-small --phrases docs/examples/lamp.yaml --format jsonl | python3 docs/examples/mqtt_intents.py

Needs `pip install paho-mqtt`, and a broker. To see the messages: mosquitto_sub -t 'edgeseq/#' -v
While the broker is away, messages wait, and are sent when it returns.
"""

import argparse
import json
import os
import queue
import signal
import sys

try:
    import paho.mqtt.client as mqtt
except ImportError:
    sys.exit("mqtt_intents.py needs paho-mqtt: pip install paho-mqtt")

WAIT_SECONDS = 5


def arguments():
    parser = argparse.ArgumentParser(description="Publish the finals of `edgeseq listen --format jsonl` by MQTT.")
    parser.add_argument("--broker", default="localhost", help="its host; localhost by default")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--user", help="the password is taken from $MQTT_PASSWORD")
    return parser.parse_args()


def connect(client, host, port):
    """Wait until the broker has accepted the client. Raises OSError."""
    answers = queue.SimpleQueue()
    client.on_connect = lambda client, userdata, flags, reason, properties: answers.put(reason)
    client.connect(host, port)
    client.loop_start()  # a thread that sends, and connects again when the connection breaks
    try:
        reason = answers.get(timeout=WAIT_SECONDS)
    except queue.Empty:
        raise OSError("no answer") from None
    if reason.is_failure:
        raise OSError(reason)


def publish_all(client, lines):
    """Publish each final that has an intent; returns how many messages the broker did not confirm."""
    confirmed = queue.SimpleQueue()
    client.on_publish = lambda client, userdata, number, reason, properties: confirmed.put(number)
    n_published = n_confirmed = 0
    for final in map(json.loads, lines):
        if "intent" in final:
            topic = f"edgeseq/{final['intent']}"
            message = json.dumps({"text": final["text"], **final["slots"]})
            client.publish(topic, message, qos=1)
            n_published += 1
            print(topic, message, flush=True)
    try:
        while n_confirmed < n_published:
            confirmed.get(timeout=WAIT_SECONDS)
            n_confirmed += 1
    except queue.Empty:
        pass
    return n_published - n_confirmed


def main():
    args = arguments()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends `edgeseq listen`; its last words still arrive here
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    if args.user:
        client.username_pw_set(args.user, os.environ.get("MQTT_PASSWORD"))
    try:
        connect(client, args.broker, args.port)
    except OSError as fault:
        sys.exit(
            f"mqtt_intents.py: the broker at {args.broker}:{args.port} cannot be used: {fault.strerror or fault}. "
            "Start one (sudo apt install mosquitto) or name yours (--broker HOST --user NAME)."
        )
    try:
        n_lost = publish_all(client, sys.stdin)
    except json.JSONDecodeError:
        sys.exit("mqtt_intents.py: wants JSON lines on standard input, as `edgeseq listen --format jsonl` prints them")
    client.disconnect()
    client.loop_stop()
    if n_lost:
        sys.exit(f"mqtt_intents.py: the broker did not confirm {n_lost} of the messages.")


if __name__ == "__main__":
    main()
