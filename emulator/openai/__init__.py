"""An OpenAI-compatible endpoint: what clients of a served model speak, in front of an emulated service."""

from emulator.openai.server import OpenAiServer
from emulator.openai.serving import Progress, Serving

__all__ = ["OpenAiServer", "Progress", "Serving"]
