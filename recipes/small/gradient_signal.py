"""A scorer of one's own: how steady the gradient of each layer is from batch to batch."""

from layersig import scorer


@scorer("gradient-signal", needs={"model", "data", "gradients"}, version=1)
def gradient_signal(context, *, batches: int = 8):
    """Squared norm of the mean gradient as a share of the mean squared norm, over optimizer batches: 0 to 1."""
    total, squares = {}, dict.fromkeys(context.layers, 0.0)

    def visit(batch, layer, gradient):
        unit, gradient = context.unit_of[layer], gradient.float()
        total[layer] = total[layer].add_(gradient) if layer in total else gradient.clone()
        squares[unit] += gradient.square().sum().item() / batches

    context.visit_gradients(context.optimizer_batches(batches), visit)
    signal = dict.fromkeys(context.layers, 0.0)
    for layer, gradient in total.items():
        signal[context.unit_of[layer]] += (gradient / batches).square().sum().item()
    return {unit: signal[unit] / squares[unit] if squares[unit] else 0.0 for unit in context.layers}
