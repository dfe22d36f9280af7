"""Programs that mean harm. Each comes to its end, and so would pass, only where the harm was done."""

from __future__ import annotations

# Names the process and those that come from it, so that one left behind is found.
MARK = """
import ctypes
ctypes.CDLL(None).prctl(15, b"{mark}", 0, 0, 0)
"""

PROGRAMS: dict[str, str] = {
    "loop": "while True: pass",
    "sleep": "import time\ntime.sleep(3600)",
    "deaf loop": """
import signal
for n in range(1, 65):
  try: signal.signal(n, signal.SIG_IGN)
  except (OSError, ValueError): pass
while True: pass
""",
    "catches all": "while True:\n  try:\n    while True: pass\n  except BaseException: pass",
    "exit": "import sys\nsys.exit(0)\nassert False",
    "hard exit": "import os\nos._exit(0)",
    "exit in a thread": """
import os, threading
threading.Thread(target=os._exit, args=(0,)).start()
import time
time.sleep(9)
""",
    "exit by a hook": "import os, sys\nsys.excepthook = lambda *a: os._exit(0)\nassert False",
    "exit at the end": "import atexit, os\natexit.register(os._exit, 0)\nassert False",
    "no errors": "import builtins\nbuiltins.AssertionError = builtins.BaseException = int\nassert False",
    "no exit": "import os\nos._exit = lambda status: None\nassert False",
    "own token": """
import os
for n in range(3, 64):
  try: os.write(n, b'x' * 32)
  except OSError: pass
os._exit(0)
""",
    "memory": "kept = bytearray(100 << 30)",
    "memory by steps": "kept = []\nwhile True: kept.append(bytearray(16 << 20))",
    "recursion": "def f(x): return f(x + 1)\nf(0)",
    "crash": "import ctypes\nctypes.string_at(0)",
    "prints for ever": "while True: print('x' * 9999)",
    "big file": "with open('big', 'wb') as f:\n  for _ in range(10 << 10): f.write(bytes(1 << 20))",
    "sparse file": "with open('big', 'wb') as f: f.truncate(10 << 30)",
    "many files": "for n in range(10 << 10):\n  with open(str(n), 'wb') as f: f.write(bytes(1 << 20))",
    "network": "import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)",
    "datagram": "import socket\ns = socket.socket(type=socket.SOCK_DGRAM)\ns.sendto(b'x', ('192.0.2.1', 9))",
    "listens": "import socket\ns = socket.socket()\ns.bind(('0.0.0.0', 0))\ns.listen()\ns.accept()",
    "unix socket": "import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect({socket!r})",
    "reads a secret": "open({secret!r}).read()",
    "reads home": "import os\nassert len(os.listdir({home!r})) > 1",
    "reads passwords": "open('/etc/passwd').read()",
    "reads processes": "import os\nassert any(n.isdigit() and int(n) > 20 for n in os.listdir('/proc'))",
    "writes outside": "open({outside!r}, 'w').write('x')",
    "writes the library": "import json\nopen(json.__file__, 'a').write('# x')",
    "removes outside": "import os\nos.remove({secret!r})",
    "kills the parent": "import os\nos.kill(os.getppid(), 9)\nimport time\ntime.sleep(9)",
    "kills the tester": "import os\nos.kill({pid}, 0)",
    "fork bomb": "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
    "thread bomb": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()",
    "daemon": """
import os, signal, time
if os.fork() == 0:
  os.setsid()
  if os.fork() == 0:
    signal.signal(15, signal.SIG_IGN)
    time.sleep(3600)
  os._exit(0)
os._exit(0)
""",
    "traces": "import ctypes\nassert ctypes.CDLL(None).ptrace(16, {pid}, 0, 0) == 0",
    "mounts": "import ctypes\nassert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "new namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "other user": "import os\nos.setuid(0 if os.getuid() else 1)",
    "more memory": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "runs a program": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'true'], check=True)",
    "environment": "import os\nassert set(os.environ) - {{'HOME', 'TMPDIR', 'LC_CTYPE'}}",
    "site-packages": "import msgspec",
    "swallows the test": "x = '''\n\ndef check(candidate): assert False\ncheck(1)",
}  # fmt: skip


def program(name: str, mark: str = "hostile", **where: object) -> str:
    """One of them, with the places that it goes for: port, socket, secret, home, outside, pid."""
    text = PROGRAMS[name].format(**where) if "{" in PROGRAMS[name] else PROGRAMS[name]
    return MARK.format(mark=mark) + text
