"""The one legend of shape letters, used in annotations and as suffixes of tensor names.

| letter | meaning                                       |
|--------|-----------------------------------------------|
| B      | rows of the batch                             |
| S      | positions of the queries (the input)          |
| T      | positions of the keys (input and cache)       |
| D      | `d_model`, width of the residual stream       |
| H      | `n_heads`                                     |
| G      | `n_kv_heads`, heads of keys and values        |
| K      | `d_head`, width of a head                     |
| F      | `d_ff`, inner width of the feed-forward       |
| V      | `vocab_size`                                  |
| L      | layers                                        |
| C      | capacity of a cache in positions              |

Values are jaxtyping types: `Hidden` is a float tensor of shape "B S D", and so on.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Tokens = Int[Tensor, "B S"]
Padding = Bool[Tensor, "B T"]
Hidden = Float[Tensor, "B S D"]
Logits = Float[Tensor, "B S V"]
HeadsBHSK = Float[Tensor, "B H S K"]
KeysBGTK = Float[Tensor, "B G T K"]
Weights = Float[Tensor, "B H S T"]
