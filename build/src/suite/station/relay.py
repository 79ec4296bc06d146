"""What sshd runs for whoever logs in: the command, on the emulated device behind a Unix socket (see build/src/served.rs)."""

import base64
import json
import os
import socket
import sys

device = socket.socket(socket.AF_UNIX)
device.connect(sys.argv[1])
question = {"argv": ["sh", "-c", os.environ["SSH_ORIGINAL_COMMAND"]]}
device.sendall(json.dumps(question).encode() + b"\n")
answer = json.loads(device.makefile().readline())
for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
    stream.buffer.write(base64.b64decode(answer[name]))
    stream.flush()
sys.exit(answer["status"])
