"""Where trained networks run: one protocol for a compiled graph, several backends.

```
with open_graph(Path("engine.onnx")) as graph:
    graph.warm_up()
    scores = graph.run({"planes": planes})["scores"]
```
"""

from engines.runtime.base import GraphRunner, TensorSpec
from engines.runtime.registry import BACKENDS, open_graph

__all__ = ["BACKENDS", "GraphRunner", "TensorSpec", "open_graph"]
