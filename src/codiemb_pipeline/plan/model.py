"""How large a backbone is, from its configuration alone: it is built without memory for its weights."""

from __future__ import annotations

from codiemb_pipeline.encoder.checkpoint import base_folder
from codiemb_pipeline.errors import InputError, first_line
from codiemb_pipeline.locations import is_hub_id
from codiemb_pipeline.params.encoder import EncoderParams
from codiemb_pipeline.plan.memory import ModelSize


def model_size(params: EncoderParams) -> ModelSize:
    """Return the size of the backbone of ``params``; of a hub model, whose configuration is fetched when not cached.

    Raises:
        InputError: it can't be told; says why.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    options = {"trust_remote_code": params.trust_remote_code}
    try:
        if is_hub_id(params.path):
            config = AutoConfig.from_pretrained(params.path, revision=params.revision, **options)
        else:
            config = AutoConfig.from_pretrained(base_folder(params), **options)
        with torch.device("meta"):
            backbone = AutoModel.from_config(config, **options)
    except Exception as error:  # whatever transformers, the hub or the model's own code say
        why = f"its size is not known: {first_line(error)}"
        raise InputError(f"params.yaml: encoder.path: {params.path}: {why}") from error
    text = config.get_text_config()
    names = [name for name, _ in backbone.named_parameters()]
    return ModelSize(
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        layers=int(text.num_hidden_layers),
        width=int(text.hidden_size),
        feed_forward=int(text.intermediate_size),
        gated=any(".gate_" in name or ".w3." in name for name in names),
    )
