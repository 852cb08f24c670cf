"""genome + intervals -> SeqRecords -> k-mer ids -> language model -> classifier -> scored intervals -> tracks.

The public names are listed in ``__init__.pyi`` and loaded when first asked for: torch only when a net is, fastai only
when training starts. A verb's file is never named like the verb, since importing the file would put the module in the
function's place here. Coordinates are 0-based half-open; ``docs/definitions.md`` has the conventions.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
