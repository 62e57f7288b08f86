"""The candles a strategy sees: a window of rows, made into a DataFrame for each decision.

Part of the sealed process. Rows come from the host as `[open time in ms, open, high, low, close,
volume]`, in order. A new frame is made each time, so that what a strategy adds to its own is not
there the next time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import pandas as pd

_COLUMNS = ("open", "high", "low", "close", "volume")

Row = Sequence[float]


class CandleWindow:
    def __init__(self) -> None:
        self._rows: deque[Row] = deque(maxlen=1)

    def __len__(self) -> int:
        return len(self._rows)

    def fill(self, rows: Sequence[Row], length: int) -> None:
        """Forget what there is; keep the last `length` rows from now on."""
        self._rows = deque(rows, maxlen=length)

    def add(self, row: Row) -> None:
        self._rows.append(row)

    def frame(self) -> pd.DataFrame:
        """A DataFrame of its own: floats, indexed by when each candle opened, in UTC."""
        table = np.array(self._rows, dtype="float64").reshape(-1, 1 + len(_COLUMNS))
        opened = pd.DatetimeIndex(
            table[:, 0].astype("datetime64[ms]").astype("datetime64[ns]"), tz="UTC", name="time"
        )
        columns = {name: table[:, place + 1].copy() for place, name in enumerate(_COLUMNS)}
        return pd.DataFrame(columns, index=opened)
