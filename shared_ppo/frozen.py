"""For fork servers, imported last.

The garbage collectors of the children leave alone what was imported before: a collection writes into every object that
it looks at, and without this the first full one in a worker would copy some 40 MiB of modules that it only reads.

The end of a terminal reaches the server too. Its children die with it, so it leaves that to the main process.
"""

import gc
import signal

gc.collect()
gc.freeze()
signal.signal(signal.SIGHUP, signal.SIG_IGN)
