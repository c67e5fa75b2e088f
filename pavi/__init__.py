"""Metric client: what a searched program calls to report its scalars. Standard library only.

    from pavi import SummaryWriter

    writer = SummaryWriter("ResNet18")
    writer.add_scalar("acc", accuracy, epoch)

In a job of a search the scalars go to the job's folder, where the scheduler reads them; elsewhere to ./pavi_logs/NAME.
Beside them lies a TensorBoard event file. With MOCK_PAVI=2 nothing is written.
"""

from pavi.reader import get_latest_scalar
from pavi.writer import SummaryWriter

__all__ = ["SummaryWriter", "get_latest_scalar"]
