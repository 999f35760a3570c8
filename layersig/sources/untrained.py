"""`untrained:SOURCE`: the architecture of another model with weights as they are drawn before any training."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from layersig.errors import UserError
from layersig.sources.entries import whole_entry
from layersig.sources.files import INDEX, MODEL_PATTERNS, digest_model
from layersig.sources.source import Kind, Request, Source, SourceLoader

SCHEME = "untrained"
_VERSION = 1
_SEED = 0


class Untrained:
    """`untrained:SOURCE`, such as `untrained:hub:ID`: what scores say of a model that has learned nothing.

    Weights are drawn as transformers does for a new model of this configuration, from a fixed seed. Configuration and
    tokenizer are those of the source.

    Attributes:
        loaders: Loaders of the sources that may be named, by scheme.
    """

    kinds: frozenset[Kind] = frozenset({"model"})

    def __init__(self, loaders: dict[str, SourceLoader]) -> None:
        self.loaders = loaders

    def load(self, kind: Kind, reference: str, request: Request) -> Source:
        """The source without what it has learned; drawn once, and kept in the cache.

        Raises:
            UserError: The source is wrong, or transformers cannot make a model of its configuration.
            MachineError: It cannot be reached.
        """
        import transformers

        scheme, _, rest = reference.partition(":")
        known = sorted(name for name, loader in self.loaders.items() if kind in loader.kinds)
        if scheme not in known or not rest:
            forms = ", ".join(f"{SCHEME}:{name}:..." for name in known)
            raise UserError(f"'{SCHEME}:{reference}' names no model. Allowed: {forms}")
        learned = self.loaders[scheme].load(kind, rest, request)
        entry = whole_entry(
            request.cache,
            "untrained",
            f"{learned.label}-{learned.digest[:16]}-{transformers.__version__}-{_VERSION}",
            lambda folder: _draw(learned.path, folder),
            origin={"source": learned.resolved, "digest": learned.digest},
            warn=request.warn,
        )
        return replace(
            learned,
            spec=f"{SCHEME}:{reference}",
            resolved=f"{SCHEME}:{learned.resolved}",
            label=f"{SCHEME}-{learned.label}",
            path=entry.path,
            digest=digest_model(entry.path, request.cache),
            notes=(f"{learned.label} is used with random weights: it has learned nothing",),
            digest_now=None,
        )


def _draw(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            model = AutoModelForCausalLM.from_config(config, dtype=config.dtype or torch.float32)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{source}: transformers cannot make a model of its config.json ({error})") from error
    model.save_pretrained(folder)
    belongings = {path for pattern in MODEL_PATTERNS for path in source.glob(pattern) if path.is_file()}
    for path in belongings:
        if path.suffix != ".safetensors" and path.name not in ("config.json", INDEX):
            shutil.copyfile(path, folder / path.name)
