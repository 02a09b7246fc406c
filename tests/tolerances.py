"""How far apart two computations of one thing may lie: every tolerance of the tests. They only shrink."""

# Largest absolute difference, of values of order one to ten.
FP64 = 1e-12  # two orders of the same sums
FP32 = 1e-5
GGUF_LOGITS = 1e-4  # a real model of 30 layers, whose logits reach 30

# Against figures that were kept in single precision with the weights.
KEPT_ACTIVATIONS = 5e-6
KEPT_LOGITS = 2e-6  # relative to the largest logit

# The compiled part.
NATIVE_EXACT = 1e-4  # float32 in another order, logits of order ten
NATIVE_LOGITS = 2e-2  # activations as 16-bit integers
NATIVE_COARSE = 5e-2  # activations as 8-bit integers, a cache in bfloat16: the root of the mean square
BFLOAT16_MIXES = 2e-2  # attention in bfloat16, of values of order one

# Relative error of a standard deviation that is estimated from n draws, in units of 1 / sqrt(2 n).
DEVIATIONS = 5.0

# Published quality.
STSB_SPEARMAN = 0.820
