"""Hugging Face decoders: loading them, finding their layers, adapting them and gating their updates."""
