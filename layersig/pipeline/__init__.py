"""Read this first: the stages of a study, in order, as a pure function of its recipe.

    recipe -> model + data -> reference training -> scores -> selection -> action (tune | graft) -> evaluation
                                                              -> overlap of the training data with what is evaluated

What `plan` prints, `status` shows, the cache is keyed by and the engine runs is the graph that `stages` returns.
Analysis and report come after it, from the files of the run folder alone.

- `build`: `stages`, the walk through the grid of a recipe in the order of the data flow
- `graph`: the values a graph is made of; what the kinds of stages are is in `layersig.stages.kinds`
- `study`: what every builder below asks about the recipe
- `materials`, `training`, `scores`, `selections`, `actions`, `evaluations`, `conversations`: from a grid point to its
  `Stage`
"""

from layersig.pipeline.build import declaration, measures_arm, stages, without_seeds
from layersig.pipeline.graph import Graph, Input, Line, SourceRef, Stage

__all__ = ["Graph", "Input", "Line", "SourceRef", "Stage", "declaration", "measures_arm", "stages", "without_seeds"]
