"""One thread: test processes side by side must not fight over the cores."""

import torch

torch.set_num_threads(1)
