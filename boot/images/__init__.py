"""Images: where they are kept, how they come in, how they are found, and how they go out.

The boot dialect asks for `answer` alone.
"""

from boot.images.serving import answer

__all__ = ["answer"]
