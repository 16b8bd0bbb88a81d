"""Switch a lamp. `edgeseq listen --run` starts this for each final and sends the final to standard input, as JSON.

edgeseq listen --model english-small --phrases docs/examples/lamp.yaml --run 'python3 docs/examples/lamp.py'

On a Raspberry Pi, pin 17 is driven high or low (LAMP_PIN names another, in the numbers of `pinctrl`). Connect a relay, or an
LED with a resistor. Elsewhere a line is printed.
"""

import json
import os
import shutil
import subprocess
import sys

PIN = os.environ.get("LAMP_PIN", "17")
LEVELS = {"on": "dh", "off": "dl"}  # drive high, drive low

try:
    final = json.load(sys.stdin)
except json.JSONDecodeError:
    sys.exit("lamp.py: wants one final as JSON on standard input, as `edgeseq listen --run 'python3 lamp.py'` sends it.")
state = final.get("slots", {}).get("state")
if state not in LEVELS:
    sys.exit(f"lamp.py: {final.get('text')!r} has no slot 'state' of on or off. Listen with --phrases docs/examples/lamp.yaml.")

if shutil.which("pinctrl"):
    sys.exit(subprocess.run(["pinctrl", "set", PIN, "op", LEVELS[state]]).returncode)
print(f"The lamp would be {state} now; there is no pinctrl here to set pin {PIN} with.")
