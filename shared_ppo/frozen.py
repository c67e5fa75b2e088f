"""For fork servers, imported last: the garbage collectors of the children leave alone what was imported before.

A collection writes into every object that it looks at. Without this, the first full one in a worker would copy some
40 MiB of modules that it only reads.
"""

import gc

gc.collect()
gc.freeze()
