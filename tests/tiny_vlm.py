"""Writes a vision-language model of random weights into a cache of Hugging Face's, as if it had been fetched.

Runs in the environment that `scripts/vlm-env` makes: `python tiny_vlm.py CACHE NAME`. The model sees four by four parts
of a picture and says any bytes, but ever the same of the same picture; it never comes to an end by itself.
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # type: ignore[import-not-found]
from transformers import (  # type: ignore[import-not-found]
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

PATCH, SIDE = 14, 56
SPECIAL = ["<pad>", "<s>", "</s>", "<image>"]
CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def processor() -> LlavaProcessor:
    """A token for each byte, and pictures by Pillow: the other way needs torchvision."""
    tokens = SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    pad, begin, end, image = SPECIAL
    return LlavaProcessor(
        CLIPImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_center_crop=False),
        PreTrainedTokenizerFast(
            tokenizer_object=bytewise,
            pad_token=pad,
            bos_token=begin,
            eos_token=end,
            extra_special_tokens={"image_token": image},
        ),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )


def model(words: int) -> LlavaForConditionalGeneration:
    """Of so many tokens."""
    torch.manual_seed(0)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    vision = CLIPVisionConfig(**layers, image_size=SIDE, patch_size=PATCH)
    text = LlamaConfig(**layers, **ids, vocab_size=words, max_position_embeddings=8192, tie_word_embeddings=False)
    image = SPECIAL.index("<image>")
    whole = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, **ids)
    made = LlavaForConditionalGeneration(whole)
    made.generation_config.suppress_tokens = [*range(len(SPECIAL))]
    return made


def main() -> None:
    cache, name = Path(sys.argv[1]), sys.argv[2]
    revision = "0" * 40
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    reading = processor()
    reading.save_pretrained(repository / "snapshots" / revision)
    model(len(reading.tokenizer)).save_pretrained(repository / "snapshots" / revision)


if __name__ == "__main__":
    main()
