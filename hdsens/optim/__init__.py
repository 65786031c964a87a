"""Optimizers whose learning rate is learned along the way: SGDHD and AdamHD.

Hypergradient descent (Baydin, Cornish, Martínez Rubio, Schmidt and Wood, ICLR 2018,
arXiv 1703.04782) for use wherever a ``torch.optim`` optimizer is used.
"""

from hdsens.optim.adam_hd import AdamHD
from hdsens.optim.groups import group_per_tensor
from hdsens.optim.schedulers import keep_lr
from hdsens.optim.sgd_hd import SGDHD

__all__ = ["SGDHD", "AdamHD", "group_per_tensor", "keep_lr"]
