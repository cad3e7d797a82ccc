"""The assemble node."""

from pathlib import Path

from codiemb_pipeline.params import AssembleParams, EncoderParams, EvaluateParams
from codiemb_pipeline.pipelines.rim import draft


def assemble(
    params: AssembleParams,
    encoder: EncoderParams,
    evaluate: EvaluateParams,
    sources: Path,
    hard_negatives: Path,
    work: Path,
) -> tuple[Path, Path]:
    """Make unified examples of both tasks, audit them against all benchmarks and tokenise them once.

    Returns:
        The folder of model input, and the file of the audit's findings.
    """
    from codiemb_pipeline.artifacts.assemble import Contamination
    from codiemb_pipeline.assemble.contamination import open_audit
    from codiemb_pipeline.assemble.run import assemble as assemble_examples
    from codiemb_pipeline.launch.work_dir import remove_finished

    remove_finished(work / "mine")
    out, contamination = draft(work, "model_input"), draft(work, "contamination") / "contamination.json"
    audit = open_audit(params.audit, evaluate.benchmarks, sources)
    assemble_examples(params, encoder, sources, hard_negatives, out, audit)
    (audit.report() if audit else Contamination(mode="off")).write(contamination)
    return out, contamination
