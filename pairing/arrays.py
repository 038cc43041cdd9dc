"""The types of the arrays that numbers and indices are in."""

import numpy as np
from numpy.typing import NDArray

Array32 = NDArray[np.float32]
Array64 = NDArray[np.float64]
Indices = NDArray[np.int64]
