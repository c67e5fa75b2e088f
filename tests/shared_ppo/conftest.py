"""One thread per test process: small networks only lose time with more."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
