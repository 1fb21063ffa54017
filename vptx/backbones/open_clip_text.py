"""Text towers of CLIP as open_clip has them: the text side of ``CLIP``, and ``TextTransformer`` (``CustomTextCLIP``).

https://github.com/mlfoundations/open_clip, ``open_clip/transformer.py`` and ``model.py``. Radford et al., "Learning
Transferable Visual Models From Natural Language Supervision", ICML 2021, https://arxiv.org/abs/2103.00020

    x = E[ids] + positions,    12 causal layers,    z = LN_final(x)[EOT] W_t

Attention is causal: a row sees itself and the rows before it. So what stands after the end of a text (EOT) never
counts, and rows before the first difference between two texts are the same in both. ``vptx.text`` uses it.

open_clip is an extra, ``pip install 'vptx[clip]'``, imported when a tower is built.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vptx.backbones.base import Context, Net
from vptx.backbones.linear import fast_linear
from vptx.backbones.memory import KeyValue, Spelling, attend, gather, project, split_heads
from vptx.backbones.spelling import is_plain
from vptx.geometry import Geometry, Site
from vptx.registry import TEXT_TOWERS
from vptx.weights.text import fetch_hub, load_text

__all__ = ['OpenCLIPText', 'TextContext']


@dataclass(frozen=True)
class TextContext(Context):
    """What the layers need to know of texts next to their tokens.

    Attributes:
        grid, positions: of ``Context``.
        first: whether the first row is the start of text (SOT), which sees itself alone; False where the rows before it
            are a memory.
    """

    first: bool = True


class CausalAttention(nn.Module):
    """Attention of one layer, from the weights of ``nn.MultiheadAttention``, with modules that can be listened to.

    Args:
        library: the library's module, whose parameters it shares.
    """

    def __init__(self, library: nn.MultiheadAttention) -> None:
        super().__init__()
        width, bias = library.embed_dim, library.in_proj_bias
        self.heads = library.num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias is not None, device='meta')
        self.qkv.weight, self.qkv.bias = library.in_proj_weight, bias
        self.proj = library.out_proj

    def forward(
        self, x: Tensor, memory: KeyValue | None = None, first: bool = True, row: Tensor | None = None
    ) -> Tensor:
        """Normed tokens (B, M, D) -> (B, M, D), or of one row of each (B, 1, D).

        Args:
            x: the tokens.
            memory: keys and values that all rows see; the first one does not if it is the start of text.
            first: whether it is.
            row: which row is asked for, (B,).
        """
        query, key, value = split_heads(self.qkv(x), self.heads)
        length = x.shape[1]
        if row is None:
            bias = x.new_full((length, length), -torch.inf).triu(1)[None]
        else:
            query = query.gather(2, row[:, None, None, None].expand(-1, query.shape[1], 1, query.shape[3]))
            after = torch.arange(length, device=x.device) > row[:, None]
            bias = x.new_zeros(after.shape).masked_fill(after, -torch.inf)[:, None, None]
        out = attend(query, key, value, memory, bias=bias)
        if memory is not None and first and row is None:  # of one key the value is all that there is
            out = torch.cat([value[:, :, :1].transpose(1, 2).flatten(2), out[:, 1:]], dim=1)
        return self.proj(out)

    def keys_values(self, x: Tensor) -> KeyValue:
        """(P, D) or (B, P, D) -> their keys and values."""
        if is_plain(self.qkv, (nn.Linear,)):
            return KeyValue(*project(x, self.qkv.weight, self.qkv.bias, self.heads, first=1))
        return KeyValue(*split_heads(self.qkv(x), self.heads)[1:])


@TEXT_TOWERS.register_module()
class OpenCLIPText(Net):
    """The text tower of a CLIP that open_clip can build.

        OpenCLIPText('ViT-B-16-quickgelu', pretrained='openai')

    Source: Radford et al. (CLIP), ICML 2021, https://arxiv.org/abs/2103.00020.

    Args:
        model: open_clip's name of a CLIP, of which the text side alone is built; or a built ``CLIP``,
            ``CustomTextCLIP`` or ``TextTransformer``, whose text side is used as it is; or None, for a small tower of
            the sizes below.
        pretrained: the weights: a local file, or open_clip's tag of some that have a safetensors file on the Hugging
            Face hub, such as ``'openai'``, ``'laion2b_s34b_b88k'``, ``'datacomp_xl_s13b_b90k'``. None leaves them as
            they are: random, for a name.
        bpe_path: a gzipped file of merges in the format of open_clip's, for a tower with a vocabulary of its own. By
            default the one in open_clip's wheel.
        width, layers, heads, context, vocab, embed: D, L, the heads, the longest text, the size of the vocabulary and
            the width d of the joint space, without ``model``.
        quick_gelu: whether it has OpenAI's activation, without ``model``.

    Attributes:
        logit_scale: the logarithm of the factor of cosines.
        logit_bias: added to logits; 0 in all but SigLIP's.

    Raises:
        ImportError: open_clip is not installed.
        ValueError: a name that open_clip does not know; a tower that is not causal, or does not end in EOT (SigLIP,
            CoCa, towers of transformers); weights that do not fit; a vocabulary of another size than the tower's.
    """

    example: ClassVar[dict[str, Any]] = dict(width=64, layers=2, heads=2, embed=32)
    has_class_token = False
    readout = 'logits'

    def __init__(
        self,
        model: str | nn.Module | None = None,
        pretrained: str | Path | None = None,
        bpe_path: str | Path | None = None,
        width: int = 512,
        layers: int = 12,
        heads: int = 8,
        context: int = 77,
        vocab: int = 49408,
        embed: int = 512,
        quick_gelu: bool = True,
    ) -> None:
        super().__init__()
        library = _open_clip()
        name, options = 'text', dict(bpe_path=str(bpe_path)) if bpe_path else {}
        scale, bias = torch.tensor(log(1 / 0.07)), torch.tensor(0.0)
        if isinstance(model, nn.Module):
            scale = getattr(model, 'logit_scale', scale).detach().reshape(()).clone()
            name, text = f'open_clip.{type(model).__name__}', _text_side(model)
        else:
            sizes = dict(width=width, layers=layers, heads=heads, context_length=context, vocab_size=vocab)
            config: dict[str, Any] = dict(embed_dim=embed, text_cfg=sizes, quick_gelu=quick_gelu)
            if model is not None:
                name, config = model, library.get_model_config(model)
                if config is None:
                    raise ValueError(f"open_clip has no model '{model}'. It has: {', '.join(library.list_models())}")
            sizes = config['text_cfg']
            if sizes.get('hf_model_name') or (sizes.get('hf_tokenizer_name') and not bpe_path):
                what = sizes.get('hf_model_name') or sizes['hf_tokenizer_name']
                raise ValueError(
                    f'the text side of {name} needs {what} of transformers; supported are towers with the byte pairs '
                    "of open_clip's wheel: OpenAI's CLIP, LAION's, DataComp's, MetaCLIP, DFN"
                )
            _check_activation(name, pretrained, config.get('quick_gelu', False))
            build = library.model._build_text_tower
            text = build(config['embed_dim'], dict(sizes), config.get('quick_gelu', False))
        if pretrained:
            scales = load_text(text, _weight_file(name, pretrained))
            scale, bias = scales.get('logit_scale', scale), scales.get('logit_bias', bias)
        self.model = text.eval()
        self._check_kind(name, text)
        self.register_buffer('logit_scale', scale.float())
        self.register_buffer('logit_bias', bias.float())
        blocks = self.model.transformer.resblocks
        self.replaced = {'': (library.transformer.ResidualAttentionBlock,), 'attn': (nn.MultiheadAttention,)}
        self.attentions = nn.ModuleList(map(CausalAttention, map(_attention_of, blocks)))
        depth, size = len(blocks), text.token_embedding.weight.shape
        self.tokenizer = _tokenizer(options.get('bpe_path'))
        if self.tokenizer.vocab_size != size[0]:
            raise ValueError(
                f'the tokenizer is not that of {name}: it has {self.tokenizer.vocab_size} tokens, the tower '
                f'{size[0]}: give the file of its byte pairs as bpe_path'
            )
        per_layer = tuple(attention.num_heads for attention in map(_attention_of, blocks))
        self.geometry = Geometry(
            name=name,
            widths=(size[1],) * depth,
            patch=(1, 1),
            image=(1, 1),
            prefix=1,
            tokens=len(text.positional_embedding),
            mean=(0.0,) * 3,
            std=(1.0,) * 3,
            doors=frozenset({'words', 'tokens', 'memory', 'inside'}),
            sites=tuple(self._sites()),
            heads=per_layer,
            word_vectors=self.word_vectors,
            joint=size[1] if text.text_projection is None else text.text_projection.shape[1],
        )

    @staticmethod
    def _check_kind(name: str, text: nn.Module) -> None:
        pool = getattr(text, 'pool_type', 'argmax')
        fault = (
            'its attention is not causal'
            if text.attn_mask is None
            else 'it has a class token after the text'
            if getattr(text, 'cls_emb', None) is not None
            else f"it reads the row '{pool}', not that of EOT"
            if pool not in ('argmax', 'eos')
            else 'its last projection has a bias'
            if isinstance(text.text_projection, nn.Module)
            else ''
        )
        if fault:
            raise ValueError(
                f'the text tower of {name} is not supported: {fault}, as in SigLIP and CoCa. Supported are causal '
                "towers that are read at EOT: OpenAI's CLIP, LAION's, DataComp's, MetaCLIP, DFN"
            )

    def _sites(self) -> Iterable[Site]:
        for layer, block in enumerate(self.model.transformer.resblocks):
            width, hidden = block.mlp.c_fc.in_features, block.mlp.c_fc.out_features
            for name in _SITES:
                outputs = dict(qkv=3 * width, fc1=hidden).get(name, width)
                yield Site(name, layer, hidden if name == 'fc2' else width, outputs)

    @property
    def embed_dim(self) -> int:
        """d, the width of the joint space."""
        return self.geometry.joint

    @property
    def vocabulary(self) -> str:
        """A hash over the tokens in their order."""
        return sha256('\n'.join(self.tokenizer.encoder).encode()).hexdigest()[:16]

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        """All of its numbers, by open_clip's names."""
        yield from self.model.state_dict().items()
        yield from (('logit_scale', self.logit_scale), ('logit_bias', self.logit_bias))

    def encode(self, text: str) -> list[int]:
        """The ids of a text, SOT and EOT included, however many they are."""
        tokenizer = self.tokenizer
        return [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]

    def word_vectors(self, phrase: str) -> Tensor:
        """The vectors of the tokens of a phrase, without SOT and EOT: (T, D)."""
        ids = torch.tensor(self.encode(phrase)[1:-1], device=self.model.positional_embedding.device)
        return self.model.token_embedding(ids).detach()

    def vectors(self, ids: Tensor) -> Tensor:
        """Word vectors, without positions: (..., T) -> (..., T, D)"""
        return self.model.token_embedding(ids).to(self.model.transformer.get_cast_dtype())

    def place(self, vectors: Tensor, start: int = 0, gap: int = 0) -> Tensor:
        """Add positions: (..., T, D) -> (..., T, D)

        Args:
            vectors: of words.
            start: how many words stand before them.
            gap: how many positions are left free after SOT, for prompts that enter before the first layer.
        """
        positions = self.model.positional_embedding
        last = start + vectors.shape[-2] + gap
        if start:
            return vectors + positions[start + gap : last].to(vectors.dtype)
        return vectors + torch.cat([positions[:1], positions[1 + gap : last]]).to(vectors.dtype)

    def admit(self, tokens: Tensor) -> Tensor:
        """Prompts after SOT get the positions of the words in whose place they stand."""
        return tokens + self.model.positional_embedding[1 : 1 + tokens.shape[-2]].to(tokens.dtype)

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        length = tokens.shape[1]
        own = self.model.attn_mask
        longer = length > len(own)
        mask = own.new_full((length, length), -torch.inf).triu(1) if longer else own[:length, :length]
        return self.model.transformer.resblocks[layer](tokens, attn_mask=mask)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block, attention = self.model.transformer.resblocks[layer], _Attends(self.attentions[layer])
        if isinstance(context, TextContext):
            attention.first = context.first
        return Spelling(block.ln_1, attention, block.ls_1, partial(_feed, block))

    def last_row(self, tokens: Tensor, layer: int, context: Context, memory: KeyValue | None, row: Tensor) -> Tensor:
        """What a layer makes of one row of each text: (B, M, D) and which one (B,) -> (B, 1, D)."""
        block = self.model.transformer.resblocks[layer]
        own = tokens.gather(1, row[:, None, None].expand(-1, 1, tokens.shape[2]))
        with fast_linear(tokens):
            seen = self.attentions[layer](block.ln_1(tokens), memory, row=row)
            return _feed(block, own + block.ls_1(seen))

    def module_of(self, layer: int) -> nn.Module:
        return self.model.transformer.resblocks[layer]

    def is_known(self, module: nn.Module) -> bool:
        return not hasattr(module, 'ln_1_kv') and module.attn.in_proj_weight is not None and module.attn.batch_first

    def key_value_weights(self, layer: int) -> tuple[Tensor, Tensor]:
        _, key, value = self.attentions[layer].qkv.weight.chunk(3)
        return key, value

    def module_at(self, site: Site) -> nn.Module:
        block, attention = self.model.transformer.resblocks[site.layer], self.attentions[site.layer]
        own = dict(attn=attention, qkv=attention.qkv, proj=attention.proj)
        return own[site.name] if site.name in own else block.get_submodule(_SITES[site.name])

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.ln_final(tokens)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        """Finished rows of EOT -> the joint space: (..., D) -> (..., d)"""
        projection = self.model.text_projection
        return feature if projection is None else feature @ projection.to(feature.dtype)


#: Where a block has its sites; those of attention are modules of this file.
_SITES = dict(norm1='ln_1', qkv='', proj='', attn='', norm2='ln_2', fc1='mlp.c_fc', fc2='mlp.c_proj', mlp='mlp')


class _Attends:
    """A module of attention, for texts that begin with SOT or do not."""

    first = True

    def __init__(self, module: CausalAttention) -> None:
        self.module = module

    def __call__(self, x: Tensor, memory: KeyValue | None) -> Tensor:
        return self.module(x, memory, self.first)

    def keys_values(self, x: Tensor) -> KeyValue:
        return self.module.keys_values(x)

    def recall(self, x: Tensor, memory: KeyValue) -> Tensor:
        query = split_heads(self.module.qkv(x), self.module.heads)[0]
        return self.module.proj(gather(query, memory))


def _feed(block: nn.Module, x: Tensor) -> Tensor:
    """The second half of a layer: (B, M, D) -> (B, M, D)"""
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _attention_of(block: nn.Module) -> nn.MultiheadAttention:
    if type(block.attn) is not nn.MultiheadAttention:
        raise ValueError(
            f'a text tower with attention of type {type(block.attn).__name__} is not supported, only with '
            "nn.MultiheadAttention, as OpenAI's CLIP has it"
        )
    return block.attn


def _open_clip() -> Any:
    """The library.

    Raises:
        ImportError: says how to install it.
    """
    try:
        import open_clip
    except ImportError as error:
        raise ImportError(
            "text towers and their tokenizer are open_clip's, which is not installed: pip install 'vptx[clip]'"
        ) from error
    return open_clip


@cache
def _tokenizer(bpe_path: str | None) -> Any:
    kind = _open_clip().tokenizer.SimpleTokenizer
    if bpe_path is None:
        return kind()
    if not Path(bpe_path).is_file():
        raise FileNotFoundError(f'there is no file of byte pairs {Path(bpe_path).absolute()}, given as bpe_path')
    try:
        return kind(bpe_path)
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise ValueError(f'{bpe_path} is no gzipped file of byte pairs: {error}') from error


def _text_side(model: nn.Module) -> nn.Module:
    """The text side of a built model, without its image side."""
    if hasattr(model, 'text'):
        return model.text
    if not hasattr(model, 'visual'):
        return model
    text = nn.Module()
    for name in ('token_embedding', 'positional_embedding', 'transformer', 'ln_final', 'text_projection'):
        setattr(text, name, getattr(model, name))
    text.register_buffer('attn_mask', model.attn_mask, persistent=False)
    text.pool_type = model.text_pool_type
    return text


def _check_activation(name: str, pretrained: str | Path | None, quick_gelu: bool) -> None:
    """Refuse weights that were trained with the other activation: their features would be slightly wrong."""
    facts = _open_clip().pretrained.get_pretrained_cfg(name, str(pretrained)) if pretrained else {}
    if facts and facts.get('quick_gelu', False) != quick_gelu:
        other = name.removesuffix('-quickgelu') if quick_gelu else f'{name}-quickgelu'
        raise ValueError(
            f"the weights '{pretrained}' of {name} were trained with {'GELU' if quick_gelu else 'QuickGELU'}, which "
            f"this model does not have: use model='{other}'"
        )


def _weight_file(name: str, pretrained: str | Path) -> str | Path:
    """A local file, or the one that open_clip's tag stands for."""
    if Path(pretrained).suffix in ('.safetensors', '.pt', '.pth', '.bin') or Path(pretrained).exists():
        return pretrained
    library = _open_clip()
    found = library.pretrained.get_pretrained_cfg(name, str(pretrained)).get('hf_hub', '')
    if not found:
        tags: Sequence[str] = library.list_pretrained_tags_by_model(name)
        raise ValueError(
            f"pretrained='{pretrained}' is neither a file nor a tag of {name} with a file on the Hugging Face hub. "
            f'Tags: {", ".join(tags) or "none"}'
        )
    return fetch_hub(found)
