"""Which papers stand behind a name: in one table, as many methods share a paper.

What is this project's own design leads to the paper that it extends.
"""

from __future__ import annotations

from collections.abc import Mapping

BYZSHIELD, IOS, VALUE, FIREPLACE = (
    "konstantinidis2021byzshield",
    "ding2021ios",
    "steiner2021value",
    "balaji2021fireplace",
)
_SERVERLESS = "shahrad2020serverless"

CITED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "rule": {
        "auror": ("shen2016auror",),
        "average": ("blanchard2017machine",),
        "bulyan": ("elmhamdi2018hidden",),
        "caf": ("allouah2025towards",),
        "centered_clipping": ("karimireddy2021learning",),
        "geometric_median": ("pillutla2022robust",),
        "krum": ("blanchard2017machine",),
        "mda": ("elmhamdi2020genuinely",),
        "meamed": ("xie2018generalized",),
        "median": ("yin2018byzantine",),
        "median_of_means": ("rajput2019detox",),
        "monna": ("farhadkhani2023robust",),
        "multi_krum": ("blanchard2017machine",),
        "signsgd": ("bernstein2019signsgd",),
        "smea": ("allouah2023privacy",),
        "trimmed_mean": ("yin2018byzantine",),
        "arc": ("allouah2024adaptive",),
        "bucketing": ("karimireddy2022byzantine",),
        "clipping": ("allouah2024adaptive",),
        "nnm": ("allouah2023fixing",),
    },
    "attack": {
        "alie": ("baruch2019little",),
        "constant": (BYZSHIELD, "rajput2019detox"),
        "foe": ("xie2020fall",),
        "gaussian": ("gonzalez2025byzfl",),
        "inf": ("gonzalez2025byzfl",),
        "ipm": ("xie2020fall",),
        "label_flipping": ("tolpegin2020data",),
        "mimic": ("karimireddy2022byzantine",),
        "nan": ("gonzalez2025byzfl",),
        "optimal_alie": ("shejwalkar2021manipulating",),
        "optimal_ipm": ("shejwalkar2021manipulating",),
        "reversed_gradient": (BYZSHIELD, "rajput2019detox"),
        "sign_flipping": ("allenzhu2020byzantine",),
    },
    "scheme": {
        "affine": (BYZSHIELD,),
        "aspis": ("konstantinidis2023detection",),
        "aspis_plus": (
            "konstantinidis2023detection",
            "bose1939construction",
            "skolem1958remarks",
        ),
        "baseline": (BYZSHIELD,),
        "frc": ("chen2018draco", "rajput2019detox"),
        "mols": (BYZSHIELD,),
        "ramanujan1": (BYZSHIELD,),
        "ramanujan2": (BYZSHIELD,),
    },
    "detection": {
        "clique": ("konstantinidis2023detection",),
        "degree": ("konstantinidis2023detection",),
    },
    "data": {"digits": ("alpaydin1998optical",), "cifar10": ("krizhevsky2009learning",)},
    "model": {"resnet18": ("he2016deep",)},
    "policy": {
        "best_fit": ("johnson1974fast",),
        "certainty_equivalent": (
            FIREPLACE,
            "kaplan1958nonparametric",
            "hansen2001completely",
        ),
        "dot_product": ("grandl2014multi",),
        "fireplace": (FIREPLACE, "kaplan1958nonparametric", "hansen2001completely"),
        "first_fit": ("johnson1974fast",),
        "learned_mixture": (FIREPLACE, "hansen2001completely"),
        "least_requested": (FIREPLACE,),
        "least_used": (FIREPLACE,),
        "least_used_average": (FIREPLACE,),
        "mixture": (FIREPLACE, "hansen2001completely"),
        "power_of_two": ("mitzenmacher2001power",),
        "random": (FIREPLACE,),
        "round_robin": (FIREPLACE,),
        "telemetry_since": (FIREPLACE, "hansen2001completely"),
    },
    "trace": {
        "microvm": (_SERVERLESS,),
        "microvm-short": (_SERVERLESS,),
        "openb+planetlab": ("weng2023beware", "beloglazov2012optimal", _SERVERLESS),
    },
    "algorithm": {
        "appo": ("schulman2017proximal", "espeholt2018impala"),
        "bc": ("pomerleau1989alvinn",),
        "dqn": ("mnih2015human",),
        "impala": ("espeholt2018impala",),
        "marwil": ("wang2018exponentially",),
        "ppo": ("schulman2017proximal",),
    },
    "network": {
        "inception_v3": ("szegedy2016rethinking",),
        "mobilenet_v2": ("sandler2018mobilenetv2",),
        "nasnet_a_large": ("zoph2018learning",),
        "randwire": ("xie2019exploring",),
        "resnet18": ("he2016deep",),
        "resnet50": ("he2016deep",),
        "squeezenet": ("iandola2016squeezenet",),
    },
    "tool": {
        "eager": ("paszke2019pytorch",),
        "compile": ("ansel2024pytorch",),
        "cuda_graph": ("paszke2019pytorch",),
        "onnxruntime": ("onnxruntime",),
        "openvino": ("openvino",),
    },
    "variant": {
        "ios_mixed": ("lavin2016fast",),
    },
}
"""Kind -> name in a config -> keys of papers."""
