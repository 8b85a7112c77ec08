"""What a rank needs after its last step, for the server that ranks are forked from.

It took rank 0 1.4 s of CPU a launch. The server survives an ImportError of what it preloads and
nothing else; no rank shall fail to start for want of TensorBoard or pictures.
"""

import logging
from importlib import import_module

__all__ = ["OPTIONAL"]

OPTIONAL = ("torch.utils.tensorboard", "hilum.evaluation.training_plots")

for _name in OPTIONAL:
    try:
        import_module(_name)
    except Exception as error:  # such as a TypeError of protobuf in a TensorBoard of another year
        logging.getLogger(__name__).debug("not preloaded name=%s error=%r", _name, error)
