"""How many numbers an architecture learns, by arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping

from stemma.spec import recurrent
from stemma.spec.architecture import Architecture
from stemma.spec.ends import (
    Embedding,
    Head,
    LanguageModelHead,
    MaskedLMHead,
    NextSentenceHead,
    Pooler,
    ReplacedTokenHead,
    SpanBoundaryHead,
    TaskModules,
    Vision,
)
from stemma.spec.parts import (
    BlockPositions,
    Encoder,
    EncoderDecoder,
    Full,
    Gated,
    LayerNorm,
    Learned,
    Parallel,
    Permutation,
    Plain,
    PostNorm,
    PreNorm,
    RelativeBuckets,
    RelativeSinusoidal,
)
from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead


def parameters(architecture: Architecture | recurrent.Recurrent) -> int:
    """How many numbers are learned; a tied projection counts once, fixed positions not at all.

    >>> from stemma.spec.parts import PreNorm
    >>> parameters(Architecture(n_layers=12, d_model=768, n_heads=12, vocab_size=50_257, placement=PreNorm()))
    124439808
    """
    return sum(parameter_table(architecture).values())


def active_parameters(architecture: Architecture) -> int:
    """Those that a token meets: of each mixture only the chosen experts.

    >>> from stemma.spec.parts import Experts
    >>> spec = Architecture(n_layers=2, d_model=8, n_heads=2, vocab_size=9, experts=Experts(4, 1))
    >>> parameters(spec) - active_parameters(spec) == 2 * 3 * (2 * 8 * 32 + 32 + 8)
    True
    """
    experts = architecture.experts
    idle = 0 if experts is None else experts.n_experts - experts.n_active
    return parameters(architecture) - idle * n_expert_blocks(architecture) * _feedforward(architecture)


def parameter_table(architecture: Architecture | recurrent.Recurrent) -> Mapping[str, int]:
    """The parameters by the part that holds them; a part that there is not is 0.

    A block has d_model * d_head * (2 n_heads + 2 n_kv_heads) weights in each attention and 2 d_model * d_ff in its
    feed-forward network, 3 where it is gated (Kaplan et al. 2020, table 1, with grouped and gated maps added), and
    beside these the offsets and norms, which Kaplan et al. leave out.
    """
    if isinstance(architecture, recurrent.Recurrent):
        return recurrent.parameter_table(architecture)
    n_stacks = 1 + isinstance(architecture.stacks, EncoderDecoder)
    crossing = n_distinct(architecture, n_cross_layers(architecture))
    blocks = n_distinct(architecture, architecture.n_encoder_layers) + n_distinct(
        architecture, architecture.n_decoder_layers
    )
    attention = query_weights(architecture) + key_weights(architecture) + _attention_offsets(architecture)
    table = {
        "embeddings": architecture.vocab_size * architecture.d_embedding,
        "inputs": n_stacks * _input_parameters(architecture),
        "positions": n_stacks * _positions(architecture),
        "attention": blocks * (attention + _relative_weights(architecture)),
        "cross_attention": crossing * attention,
        "feedforward": n_dense_blocks(architecture) * _feedforward(architecture),
        "experts": n_expert_blocks(architecture) * _expert_parameters(architecture),
        "norms": (blocks * _norms_a_block(architecture) + crossing) * _norm(architecture, architecture.d_model),
        "heads": sum(_head_parameters(architecture, head) for head in architecture.heads),
        "vision": _vision_parameters(architecture),
        "modules": _module_parameters(architecture),
    }
    if not isinstance(architecture.placement, PostNorm):
        table["norms"] += n_stacks * _norm(architecture, architecture.d_model)
    if isinstance(architecture.stacks, Permutation):
        table["embeddings"] += architecture.d_model  # what the second stream starts from
    return table


# --- Weights of linear maps, which costs are computed from too -------------------------------------------------------


def n_distinct(architecture: Architecture, n_layers: int) -> int:
    """Blocks with parameters of their own among so many."""
    return min(n_layers, 1) if architecture.shared_layers else n_layers


def n_cross_layers(architecture: Architecture) -> int:
    """Blocks that look an encoder's output up."""
    return architecture.n_decoder_layers if isinstance(architecture.stacks, EncoderDecoder) else 0


def n_expert_blocks(architecture: Architecture) -> int:
    """Blocks with parameters of their own that have experts."""
    depths = (n_distinct(architecture, n) for n in (architecture.n_encoder_layers, architecture.n_decoder_layers))
    return sum(architecture.has_experts(layer) for depth in depths for layer in range(depth))


def n_dense_blocks(architecture: Architecture) -> int:
    """Blocks with parameters of their own that have one feed-forward network."""
    depths = (architecture.n_encoder_layers, architecture.n_decoder_layers)
    return sum(n_distinct(architecture, n) for n in depths) - n_expert_blocks(architecture)


def query_weights(architecture: Architecture) -> int:
    """Those of the queries and of the output: what runs on the tokens that attend."""
    return 2 * architecture.d_model * architecture.n_heads * architecture.d_head


def key_weights(architecture: Architecture) -> int:
    """Those of the keys and values: what runs on the tokens attended to."""
    return 2 * architecture.d_model * architecture.n_kv_heads * architecture.d_head


def feedforward_weights(architecture: Architecture) -> int:
    """Those of one feed-forward network."""
    return (_n_inner(architecture) + 1) * architecture.d_model * architecture.d_ff


def vision_tower(vision: Vision) -> Architecture:
    """The blocks that read an image, as an architecture; its vocabulary is the one class vector."""
    return Architecture(
        n_layers=vision.n_layers,
        d_model=vision.d_model,
        n_heads=vision.n_heads,
        d_ff=vision.d_ff,
        vocab_size=1,
        stacks=Encoder(),
        position=Learned(vision.n_patches + 1),
        embedding=Embedding(norm=True),
        norm=LayerNorm(eps=vision.eps),
        placement=PreNorm(),
        attention=Full(),
        feedforward=Plain(vision.activation),
        heads=(),
    )


def module_stack(architecture: Architecture, modules: TaskModules) -> Architecture:
    """The blocks of one task module, as an architecture; only its stack is ever built."""
    return architecture.change(
        top_query=False,
        n_layers=modules.n_layers,
        d_model=modules.d_model,
        n_heads=modules.n_heads,
        d_ff=modules.d_ff,
        embedding=Embedding(),
        experts=None,
        vision=None,
        modules=None,
        heads=(),
    )


# --- Parts -----------------------------------------------------------------------------------------------------------


def _positions(architecture: Architecture) -> int:
    """Of one stack."""
    match architecture.position:
        case Learned(max_positions=rows):
            # A top query is made of vectors of its own.
            return rows * (architecture.d_inputs + architecture.top_query * architecture.d_model)
        case RelativeBuckets(n_buckets=rows):
            return rows * architecture.n_heads
        case BlockPositions(max_positions=rows, max_block=inner):
            return (rows + inner) * architecture.d_inputs
        case _:
            return 0


def _input_parameters(architecture: Architecture) -> int:
    """Of one stack: tables beside the tokens', the norm of the sum, and the map to d_model."""
    embedding, inner = architecture.embedding, architecture.d_inputs
    rows = embedding.segments + embedding.languages + embedding.tasks
    table = rows * inner + embedding.norm * _norm(architecture, inner)
    late = (embedding.width + 1) * architecture.d_model if embedding.width else 0
    return table + late + 2 * embedding.early_width * architecture.d_model


def _relative_weights(architecture: Architecture) -> int:
    """In each self-attention: the map of sinusoids, two offsets a head, and what segments add (Dai et al. 2019)."""
    inner = architecture.n_heads * architecture.d_head
    match architecture.position:
        case RelativeSinusoidal(segments=segments):
            return architecture.d_model * inner + 2 * inner + segments * 3 * inner
        case _:
            return 0


def _attention_offsets(architecture: Architecture) -> int:
    inputs = (architecture.n_heads + 2 * architecture.n_kv_heads) * architecture.d_head
    return architecture.bias.inputs * inputs + architecture.bias.output * architecture.d_model


def _n_inner(architecture: Architecture) -> int:
    return 2 if isinstance(architecture.feedforward, Gated) else 1


def _feedforward(architecture: Architecture) -> int:
    offsets = architecture.bias.feedforward * (_n_inner(architecture) * architecture.d_ff + architecture.d_model)
    return feedforward_weights(architecture) + offsets


def _expert_parameters(architecture: Architecture) -> int:
    """Of one block: the networks and the router."""
    n_experts = 0 if architecture.experts is None else architecture.experts.n_experts
    return n_experts * (_feedforward(architecture) + architecture.d_model)


def _norms_a_block(architecture: Architecture) -> int:
    return 1 if architecture.placement == Parallel(separate=False) else 2


def _norm(architecture: Architecture, width: int) -> int:
    norm = architecture.norm
    return width * (norm.gain + norm.offset) if isinstance(norm, LayerNorm) else width


def _head_parameters(architecture: Architecture, head: Head) -> int:
    d_model, vocab_size, width = architecture.d_model, architecture.vocab_size, architecture.d_embedding
    table = width * vocab_size
    match head:
        case LanguageModelHead():
            narrowing = d_model * architecture.embedding.width
            return narrowing + (not head.tied) * table + head.bias * vocab_size
        case MaskedLMHead():
            dense = d_model * width + width + _norm(architecture, width)
            return head.dense * dense + (not head.tied) * table + vocab_size
        case Pooler():
            return d_model * d_model + d_model
        case NextSentenceHead():
            return 2 * d_model + 2
        case ReplacedTokenHead():
            return d_model * d_model + d_model + d_model + 1
        case SpanBoundaryHead(max_span=rows, d_place=place):
            first, second = (2 * d_model + place) * d_model, d_model * width
            norms = _norm(architecture, d_model) + _norm(architecture, width)
            return rows * place + first + d_model + second + width + norms + vocab_size
        case ClassifierHead() | TaggerHead() | AnswerHead():
            return head.weights(architecture.d_hidden) + head.offsets(architecture.d_hidden)


def _vision_parameters(architecture: Architecture) -> int:
    """Patches, blocks, norms and the two maps to the decoder's width."""
    vision = architecture.vision
    if vision is None:
        return 0
    patches = 3 * vision.patch_size**2 * vision.d_model
    projector = (vision.d_model + 1 + architecture.d_model + 1) * architecture.d_model
    return patches + parameters(vision_tower(vision)) + projector


def _module_parameters(architecture: Architecture) -> int:
    """Two stacks, each with a map from the universal width and one back to it."""
    modules = architecture.modules
    if modules is None:
        return 0
    table = parameter_table(module_stack(architecture, modules))
    maps = 2 * architecture.d_model * modules.d_model + architecture.d_model + modules.d_model
    # Positions that are added to embeddings are there already.
    biases = table["positions"] * isinstance(architecture.position, RelativeBuckets)
    return 2 * (sum(table[part] for part in ("attention", "feedforward", "norms")) + biases + maps)
