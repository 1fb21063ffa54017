"""A prompted model of Hugging Face's transformers, which is called and answers as the library's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vptx.backbones.hugging_face import HuggingFaceNet
from vptx.library_methods import call_with_images
from vptx.prompted import PromptedNetwork, State
from vptx.readout import OWN

__all__ = ['PromptedHuggingFace']

#: What the library's forward takes and a prompted one does not.
_UNSERVED = ('attention_mask', 'bool_masked_pos', 'head_mask')


class PromptedHuggingFace(PromptedNetwork):
    """A model of transformers with a prompter; what ``vptx.attach`` makes of one.

        model = vptx.attach(ViTForImageClassification(config), dict(type='DeepPrompter'), tune=['classifier'])
        loss = model(pixel_values=images, labels=labels).loss

    Its forward takes what the library's takes and returns the library's output object, or a tuple with
    ``return_dict=False``. With another readout than the library's own, it returns the tensor of that readout.
    """

    net: HuggingFaceNet

    @property
    def config(self) -> Any:
        """The library's config of the model."""
        return self.net.model.config

    @property
    def main_input_name(self) -> str:
        return 'pixel_values'

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.net.parameters()).dtype

    @property
    def is_gradient_checkpointing(self) -> bool:
        return self.with_cp

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: dict | None = None, every_n_layers: int = 1, offload: bool = False
    ) -> None:
        """The library's name for ``set_grad_checkpointing``: of every layer, and never reentrant.

        Raises:
            ValueError: fewer layers than all, or activations that are to leave the device.
        """
        if every_n_layers != 1 or offload:
            raise ValueError(
                'a prompted network checkpoints every layer, and keeps what it keeps where it is: leave out '
                'every_n_layers and offload'
            )
        self.set_grad_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep all activations again."""
        self.set_grad_checkpointing(False)

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> Any:
        """The library's ``save_pretrained`` of the network inside: its config, its frozen weights and what ``tune``
        trained of it, for ``from_pretrained``. Prompts are not in it: save them by ``vptx.save_prompt``."""
        return self.net.model.save_pretrained(save_directory, **options)

    def forward(  # type: ignore[override]
        self,
        pixel_values: Tensor | None = None,
        labels: Tensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        output_hidden_states: bool | int | Sequence[int] | None = None,
        output_attentions: bool | None = None,
        return_dict: bool | None = None,
        note: Any = None,
        **options: Any,
    ) -> Any:
        """
        Args:
            pixel_values: (B, C, H, W).
            labels: of a model with a classifier: its output has a loss then. With a label mapping, classes (B,) of the
                task.
            interpolate_pos_encoding: whether to resize positions to images of another size.
            output_hidden_states: whether to return those of all layers, or their numbers; with the effect of the
                prompts, and without the prompts' own.
            output_attentions: cannot be served.
            return_dict: whether to return the library's output object, or a tuple.
            note: for the prompter.
            **options: of the library's loss.

        Raises:
            TypeError: labels for a model that has no use for them.
            ValueError: no images; images of another size than the network's, unless positions are to be resized;
                something that a prompted network cannot serve.
        """
        if pixel_values is None:
            raise ValueError('pixel_values have to be given')
        if self.readout != OWN:
            return super().forward(pixel_values, note)
        config = self.config
        self._check(pixel_values, labels, interpolate_pos_encoding, output_attentions, options)
        self._check_state()
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        wanted = output_hidden_states is not None and output_hidden_states is not False
        tokens, *states = call_with_images(self._recorded if wanted else self._finished, pixel_values, note)
        if wanted and output_hidden_states is not True:
            asked = output_hidden_states if isinstance(output_hidden_states, Sequence) else [output_hidden_states]
            kept = {index % len(states) for index in asked}
            states = [value if index in kept else None for index, value in enumerate(states)]
        if self.mapping.num_classes == 0 and labels is not None:
            options['labels'] = labels
        output = self.net.answer(tokens, pixel_values, states if wanted else None, **options)
        if self.mapping.num_classes:
            output = self._mapped(output, labels, options)
        as_dict = getattr(config, 'return_dict', True) if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()

    def _check(self, image: Tensor, labels: Any, interpolates: Any, attentions: Any, options: dict[str, Any]) -> None:
        name = type(self.net.model).__name__
        refused = [key for key in _UNSERVED if options.pop(key, None) is not None]
        if attentions or (attentions is None and getattr(self.config, 'output_attentions', False)):
            refused.append('output_attentions')
        if refused:
            raise ValueError(
                f'a prompted {name} cannot serve {" and ".join(refused)}: its layers attend to prompts next to the '
                'tokens of the image. Leave it out, or vptx.detach(model) first'
            )
        if labels is not None and not self.net.has_head:
            raise TypeError(f'{name} has no classifier, so that it takes no labels: use its ...ForImageClassification')
        size, own = tuple(image.shape[-2:]), self.net.geometry.image
        if self.net.fixed_size and size != own and not interpolates:
            raise ValueError(
                f'an image of {size[0]} x {size[1]} px, but {self.net.geometry.name} was built for {own[0]} x {own[1]} '
                'px: pass interpolate_pos_encoding=True'
            )

    def _finished(self, image: Tensor, note: Any) -> tuple[Tensor, ...]:
        """The finished tokens of an image."""
        return (self._features(self.layers(self.embed(image, note), self.net.geometry.depth)),)

    def _recorded(self, image: Tensor, note: Any) -> tuple[Tensor, ...]:
        """The finished tokens, and what the library notes before them."""
        state, noted = self.embed(image, note), list[Tensor]()
        for layer in self.net.recorded:
            state = self.layers(state, layer)
            noted.append(self._noted(state))
        return self._features(state), *noted

    def _noted(self, state: State) -> Tensor:
        tokens = self._tap(state.tokens, state.context).tokens
        return self.net.record(tokens, state.layer, state.context)

    def _mapped(self, output: Any, labels: Tensor | None, options: dict[str, Any]) -> Any:
        """The output with logits of the task's classes, and their loss."""
        values = dict(output)
        name = next(name for name in ('logits', 'image_embeds') if name in values)
        values[name] = self.mapping(self._check_classes(values[name]))
        if labels is not None:
            number = options.get('num_items_in_batch')
            loss = F.cross_entropy(values[name], labels, reduction='mean' if number is None else 'sum')
            values['loss'] = loss if number is None else loss / number
        return type(output)(**values)
