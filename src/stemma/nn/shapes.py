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
"""
