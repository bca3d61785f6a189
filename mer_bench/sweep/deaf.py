"""Imported by the fork server only: it ignores what is meant for its runs, and ends with its launcher.

Batch systems and `timeout` signal every process of a job; a server that died of it could no longer tell how its
children ended. They give the signals their meaning back.
"""

import signal

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
