"""`layersig layers MODEL`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from layersig.cli.main import emit
from layersig.cli.options import as_json, offline
from layersig.errors import UserError
from layersig.exporting.models import find_model

if TYPE_CHECKING:
    from layersig.layers import LayerMap


@click.command("layers")
@click.argument("model", metavar="MODEL")
@click.option("--head", is_flag=True, help="Count the output head as a layer.")
@click.option("--names", is_flag=True, help="List every layer by its full name.")
@offline
@as_json
def command(model: str, head: bool, names: bool, offline: bool, as_json: bool) -> None:
    """Show the layers of MODEL, a folder or a source such as `hub:ID`: what a study of it would rank.

    Example: layersig layers hub:HuggingFaceTB/SmolLM2-135M
    """
    from layersig.models.layermap import layer_map_of_checkpoint

    if ":" not in model and not Path(model).expanduser().is_dir():
        raise UserError(f"there is no folder {model}; a model of the hub is called hub:{model}")
    spec = model if ":" in model else f"path:{model}"
    found = layer_map_of_checkpoint(find_model(spec, offline=offline).path, head=head)
    emit({"model": model, **found.to_json()}, as_json=as_json, text="\n".join(_lines(found, names)))


def _lines(found: LayerMap, names: bool) -> list[str]:
    layers = found.layers
    if names:
        return [f"{layer.name}  {' x '.join(map(str, layer.shape))}" for layer in layers]
    blocks = {layer.block for layer in layers if layer.block is not None}
    weights = sum(layer.parameters for layer in layers)
    counts = Counter((layer.kind, layer.shape) for layer in layers)
    wide = max(len(kind) for kind, _ in counts)
    rows = [
        f"  {kind:{wide}}  {count:4} of {' x '.join(map(str, shape)):14}"
        f"{sum(layer.parameters for layer in layers if (layer.kind, layer.shape) == (kind, shape)) / weights:6.1%}"
        for (kind, shape), count in counts.items()
    ]
    head = (
        f"{len(layers)} layers in {len(blocks)} blocks, {weights:,} weights; by type, with their share of the weights:"
    )
    return [head, *rows]
