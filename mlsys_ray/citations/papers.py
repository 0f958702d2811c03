"""The publications, by the key of their BibTeX entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["inproceedings", "article", "misc"]
_VENUES: dict[Kind, str] = {
    "inproceedings": "booktitle",
    "article": "journal",
    "misc": "howpublished",
}


@dataclass(frozen=True)
class Paper:
    """A publication.

    Attributes:
        key: of its BibTeX entry.
        kind: of its BibTeX entry.
        authors: full names, separated by " and "; others after the first ones as "others".
        title: as printed.
        venue: conference, journal, or where it lies.
        year: of the publication.
        url: where the venue does not find it.
    """

    key: str
    kind: Kind
    authors: str
    title: str
    venue: str
    year: int
    url: str = ""

    def text(self) -> str:
        """One line for a list of references."""
        names = self.authors.split(" and ")
        if names[-1] == "others":
            by = f"{', '.join(names[:-1])} et al."
        else:
            by = f"{', '.join(names[:-1])} and {names[-1]}." if names[1:] else f"{names[0]}."
        return f"{by} {self.title}. {self.venue}, {self.year}." + (f" {self.url}" * bool(self.url))

    def bibtex(self) -> str:
        """Its BibTeX entry, in UTF-8."""
        fields = {
            "author": self.authors,
            "title": f"{{{self.title}}}",
            _VENUES[self.kind]: self.venue,
            "year": str(self.year),
            "url": self.url,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


_ICML, _ICLR, _NEURIPS = (
    "International Conference on Machine Learning (ICML)",
    "International Conference on Learning Representations (ICLR)",
    "Advances in Neural Information Processing Systems (NeurIPS)",
)
_MLSYS = "Machine Learning and Systems (MLSys)"
_CVPR = "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)"
_TOG = "ACM Transactions on Graphics"
_KARIMIREDDY = "Sai Praneeth Karimireddy and Lie He and Martin Jaggi"
_XIE = "Cong Xie and Oluwasanmi Koyejo and Indranil Gupta"

PAPERS: Mapping[str, Paper] = {
    paper.key: paper
    for paper in (
        Paper(
            "konstantinidis2021byzshield",
            "inproceedings",
            "Konstantinos Konstantinidis and Aditya Ramamoorthy",
            "ByzShield: An Efficient and Robust System for Distributed Training",
            _MLSYS,
            2021,
        ),
        Paper(
            "ding2021ios",
            "inproceedings",
            "Yaoyao Ding and Ligeng Zhu and Zhihao Jia and Gennady Pekhimenko and Song Han",
            "IOS: Inter-Operator Scheduler for CNN Acceleration",
            _MLSYS,
            2021,
        ),
        Paper(
            "steiner2021value",
            "inproceedings",
            "Benoit Steiner and Chris Cummins and Horace He and Hugh Leather",
            "Value Learning for Throughput Optimization of Deep Learning Workloads",
            _MLSYS,
            2021,
            "https://arxiv.org/abs/2011.14486",
        ),
        Paper(
            "balaji2021fireplace",
            "inproceedings",
            "Bharathan Balaji and Christopher Kakovitch and Balakrishnan Narayanaswamy",
            "FirePlace: Placing Firecracker Virtual Machines with Hindsight Imitation",
            _MLSYS,
            2021,
        ),
        Paper(
            "konstantinidis2023detection",
            "article",
            "Konstantinos Konstantinidis and Namrata Vaswani and Aditya Ramamoorthy",
            "Detection and Mitigation of Byzantine Attacks in Distributed Training",
            "IEEE/ACM Transactions on Networking",
            2023,
            "https://arxiv.org/abs/2208.08085",
        ),
        Paper(
            "rajput2019detox",
            "inproceedings",
            "Shashank Rajput and Hongyi Wang and Zachary Charles and Dimitris Papailiopoulos",
            "DETOX: A Redundancy-based Framework for Faster and More Robust Gradient Aggregation",
            _NEURIPS,
            2019,
        ),
        Paper(
            "chen2018draco",
            "inproceedings",
            "Lingjiao Chen and Hongyi Wang and Zachary Charles and Dimitris Papailiopoulos",
            "DRACO: Byzantine-resilient Distributed Training via Redundant Gradients",
            _ICML,
            2018,
        ),
        Paper(
            "bose1939construction",
            "article",
            "Raj Chandra Bose",
            "On the Construction of Balanced Incomplete Block Designs",
            "Annals of Eugenics",
            1939,
        ),
        Paper(
            "skolem1958remarks",
            "article",
            "Thoralf Skolem",
            "Some Remarks on the Triple Systems of Steiner",
            "Mathematica Scandinavica",
            1958,
        ),
        Paper(
            "blanchard2017machine",
            "inproceedings",
            "Peva Blanchard and El Mahdi El Mhamdi and Rachid Guerraoui and Julien Stainer",
            "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
            _NEURIPS,
            2017,
        ),
        Paper(
            "elmhamdi2018hidden",
            "inproceedings",
            "El Mahdi El Mhamdi and Rachid Guerraoui and Sébastien Rouault",
            "The Hidden Vulnerability of Distributed Learning in Byzantium",
            _ICML,
            2018,
        ),
        Paper(
            "elmhamdi2020genuinely",
            "inproceedings",
            "El Mahdi El Mhamdi and Rachid Guerraoui and Arsany Guirguis and Lê Nguyên Hoang and"
            " Sébastien Rouault",
            "Genuinely Distributed Byzantine Machine Learning",
            "ACM Symposium on Principles of Distributed Computing (PODC)",
            2020,
        ),
        Paper(
            "yin2018byzantine",
            "inproceedings",
            "Dong Yin and Yudong Chen and Kannan Ramchandran and Peter Bartlett",
            "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
            _ICML,
            2018,
        ),
        Paper(
            "pillutla2022robust",
            "article",
            "Krishna Pillutla and Sham M. Kakade and Zaid Harchaoui",
            "Robust Aggregation for Federated Learning",
            "IEEE Transactions on Signal Processing",
            2022,
        ),
        Paper(
            "xie2018generalized",
            "misc",
            _XIE,
            "Generalized Byzantine-tolerant SGD",
            "arXiv:1802.10116",
            2018,
        ),
        Paper(
            "xie2020fall",
            "inproceedings",
            _XIE,
            "Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product Manipulation",
            "Uncertainty in Artificial Intelligence (UAI 2019), PMLR 115",
            2020,
        ),
        Paper(
            "bernstein2019signsgd",
            "inproceedings",
            "Jeremy Bernstein and Jiawei Zhao and Kamyar Azizzadenesheli and Anima Anandkumar",
            "signSGD with Majority Vote is Communication Efficient and Fault Tolerant",
            _ICLR,
            2019,
        ),
        Paper(
            "shen2016auror",
            "inproceedings",
            "Shiqi Shen and Shruti Tople and Prateek Saxena",
            "AUROR: Defending Against Poisoning Attacks in Collaborative Deep Learning Systems",
            "Annual Computer Security Applications Conference (ACSAC)",
            2016,
        ),
        Paper(
            "karimireddy2021learning",
            "inproceedings",
            _KARIMIREDDY,
            "Learning from History for Byzantine Robust Optimization",
            _ICML,
            2021,
        ),
        Paper(
            "karimireddy2022byzantine",
            "inproceedings",
            _KARIMIREDDY,
            "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing",
            _ICLR,
            2022,
        ),
        Paper(
            "farhadkhani2023robust",
            "inproceedings",
            "Sadegh Farhadkhani and Rachid Guerraoui and Nirupam Gupta and Lê-Nguyên Hoang and"
            " Rafael Pinot and John Stephan",
            "Robust Collaborative Learning with Linear Gradient Overhead",
            _ICML,
            2023,
        ),
        Paper(
            "allouah2023fixing",
            "inproceedings",
            "Youssef Allouah and Sadegh Farhadkhani and Rachid Guerraoui and Nirupam Gupta and"
            " Rafael Pinot and John Stephan",
            "Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity",
            "International Conference on Artificial Intelligence and Statistics (AISTATS)",
            2023,
        ),
        Paper(
            "allouah2023privacy",
            "inproceedings",
            "Youssef Allouah and Rachid Guerraoui and Nirupam Gupta and Rafael Pinot and John"
            " Stephan",
            "On the Privacy-Robustness-Utility Trilemma in Distributed Learning",
            _ICML,
            2023,
        ),
        Paper(
            "allouah2024adaptive",
            "misc",
            "Youssef Allouah and Rachid Guerraoui and Nirupam Gupta and Ahmed Jellouli and Geovani"
            " Rizk and John Stephan",
            "Adaptive Gradient Clipping for Robust Federated Learning",
            "arXiv:2405.14432",
            2024,
        ),
        Paper(
            "allouah2025towards",
            "inproceedings",
            "Youssef Allouah and Rachid Guerraoui and John Stephan",
            "Towards Trustworthy Federated Learning with Untrusted Participants",
            _ICML,
            2025,
        ),
        Paper(
            "gonzalez2025byzfl",
            "misc",
            "Marc González and Rachid Guerraoui and Rafael Pinot and Geovani Rizk and John Stephan"
            " and François Taïani",
            "ByzFL: Research Framework for Robust Federated Learning",
            "arXiv:2505.24802",
            2025,
        ),
        Paper(
            "baruch2019little",
            "inproceedings",
            "Gilad Baruch and Moran Baruch and Yoav Goldberg",
            "A Little Is Enough: Circumventing Defenses For Distributed Learning",
            _NEURIPS,
            2019,
        ),
        Paper(
            "shejwalkar2021manipulating",
            "inproceedings",
            "Virat Shejwalkar and Amir Houmansadr",
            "Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses for"
            " Federated Learning",
            "Network and Distributed System Security Symposium (NDSS)",
            2021,
        ),
        Paper(
            "allenzhu2020byzantine",
            "misc",
            "Zeyuan Allen-Zhu and Faeze Ebrahimian and Jerry Li and Dan Alistarh",
            "Byzantine-Resilient Non-Convex Stochastic Gradient Descent",
            "arXiv:2012.14368",
            2020,
        ),
        Paper(
            "tolpegin2020data",
            "inproceedings",
            "Vale Tolpegin and Stacey Truex and Mehmet Emre Gursoy and Ling Liu",
            "Data Poisoning Attacks Against Federated Learning Systems",
            "European Symposium on Research in Computer Security (ESORICS)",
            2020,
        ),
        Paper(
            "alpaydin1998optical",
            "misc",
            "Ethem Alpaydin and Cenk Kaynak",
            "Optical Recognition of Handwritten Digits",
            "UCI Machine Learning Repository",
            1998,
        ),
        Paper(
            "krizhevsky2009learning",
            "misc",
            "Alex Krizhevsky",
            "Learning Multiple Layers of Features from Tiny Images",
            "University of Toronto, technical report",
            2009,
        ),
        Paper(
            "he2016deep",
            "inproceedings",
            "Kaiming He and Xiangyu Zhang and Shaoqing Ren and Jian Sun",
            "Deep Residual Learning for Image Recognition",
            _CVPR,
            2016,
        ),
        Paper(
            "iandola2016squeezenet",
            "misc",
            "Forrest N. Iandola and Song Han and Matthew W. Moskewicz and Khalid Ashraf and William"
            " J. Dally and Kurt Keutzer",
            "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
            "arXiv:1602.07360",
            2016,
        ),
        Paper(
            "sandler2018mobilenetv2",
            "inproceedings",
            "Mark Sandler and Andrew Howard and Menglong Zhu and Andrey Zhmoginov and"
            " Liang-Chieh Chen",
            "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
            _CVPR,
            2018,
        ),
        Paper(
            "szegedy2016rethinking",
            "inproceedings",
            "Christian Szegedy and Vincent Vanhoucke and Sergey Ioffe and Jonathon Shlens and"
            " Zbigniew Wojna",
            "Rethinking the Inception Architecture for Computer Vision",
            _CVPR,
            2016,
        ),
        Paper(
            "zoph2018learning",
            "inproceedings",
            "Barret Zoph and Vijay Vasudevan and Jonathon Shlens and Quoc V. Le",
            "Learning Transferable Architectures for Scalable Image Recognition",
            _CVPR,
            2018,
        ),
        Paper(
            "xie2019exploring",
            "inproceedings",
            "Saining Xie and Alexander Kirillov and Ross Girshick and Kaiming He",
            "Exploring Randomly Wired Neural Networks for Image Recognition",
            "IEEE International Conference on Computer Vision (ICCV)",
            2019,
        ),
        Paper(
            "lavin2016fast",
            "inproceedings",
            "Andrew Lavin and Scott Gray",
            "Fast Algorithms for Convolutional Neural Networks",
            _CVPR,
            2016,
        ),
        Paper(
            "paszke2019pytorch",
            "inproceedings",
            "Adam Paszke and Sam Gross and Francisco Massa and others",
            "PyTorch: An Imperative Style, High-Performance Deep Learning Library",
            _NEURIPS,
            2019,
        ),
        Paper(
            "ansel2024pytorch",
            "inproceedings",
            "Jason Ansel and Edward Yang and Horace He and others",
            "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and"
            " Graph Compilation",
            "ACM International Conference on Architectural Support for Programming Languages and"
            " Operating Systems (ASPLOS)",
            2024,
        ),
        Paper(
            "onnxruntime",
            "misc",
            "{ONNX Runtime developers}",
            "ONNX Runtime",
            "software",
            2018,
            "https://onnxruntime.ai",
        ),
        Paper(
            "openvino",
            "misc",
            "{Intel}",
            "OpenVINO toolkit",
            "software",
            2018,
            "https://docs.openvino.ai",
        ),
        Paper(
            "ragankelley2013halide",
            "inproceedings",
            "Jonathan Ragan-Kelley and Connelly Barnes and Andrew Adams and Sylvain Paris and Frédo"
            " Durand and Saman Amarasinghe",
            "Halide: A Language and Compiler for Optimizing Parallelism, Locality, and"
            " Recomputation in Image Processing Pipelines",
            "ACM SIGPLAN Conference on Programming Language Design and Implementation (PLDI)",
            2013,
        ),
        Paper(
            "mullapudi2016automatically",
            "article",
            "Ravi Teja Mullapudi and Andrew Adams and Dillon Sharlet and Jonathan Ragan-Kelley and"
            " Kayvon Fatahalian",
            "Automatically Scheduling Halide Image Processing Pipelines",
            _TOG,
            2016,
        ),
        Paper(
            "li2018differentiable",
            "article",
            "Tzu-Mao Li and Michaël Gharbi and Andrew Adams and Frédo Durand and Jonathan"
            " Ragan-Kelley",
            "Differentiable Programming for Image Processing and Deep Learning in Halide",
            _TOG,
            2018,
        ),
        Paper(
            "adams2019learning",
            "article",
            "Andrew Adams and Karima Ma and Luke Anderson and others",
            "Learning to Optimize Halide with Tree Search and Random Programs",
            _TOG,
            2019,
        ),
        Paper(
            "johnson1974fast",
            "article",
            "David S. Johnson",
            "Fast Algorithms for Bin Packing",
            "Journal of Computer and System Sciences",
            1974,
        ),
        Paper(
            "grandl2014multi",
            "inproceedings",
            "Robert Grandl and Ganesh Ananthanarayanan and Srikanth Kandula and Sriram Rao and"
            " Aditya Akella",
            "Multi-resource Packing for Cluster Schedulers",
            "ACM SIGCOMM",
            2014,
        ),
        Paper(
            "mitzenmacher2001power",
            "article",
            "Michael Mitzenmacher",
            "The Power of Two Choices in Randomized Load Balancing",
            "IEEE Transactions on Parallel and Distributed Systems",
            2001,
        ),
        Paper(
            "hansen2001completely",
            "article",
            "Nikolaus Hansen and Andreas Ostermeier",
            "Completely Derandomized Self-Adaptation in Evolution Strategies",
            "Evolutionary Computation",
            2001,
        ),
        Paper(
            "kaplan1958nonparametric",
            "article",
            "Edward L. Kaplan and Paul Meier",
            "Nonparametric Estimation from Incomplete Observations",
            "Journal of the American Statistical Association",
            1958,
        ),
        Paper(
            "shahrad2020serverless",
            "inproceedings",
            "Mohammad Shahrad and Rodrigo Fonseca and Íñigo Goiri and others",
            "Serverless in the Wild: Characterizing and Optimizing the Serverless Workload at a"
            " Large Cloud Provider",
            "USENIX Annual Technical Conference (ATC)",
            2020,
        ),
        Paper(
            "weng2023beware",
            "inproceedings",
            "Qizhen Weng and Lingyun Yang and Yinghao Yu and others",
            "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient"
            " Descent",
            "USENIX Annual Technical Conference (ATC)",
            2023,
        ),
        Paper(
            "beloglazov2012optimal",
            "article",
            "Anton Beloglazov and Rajkumar Buyya",
            "Optimal Online Deterministic Algorithms and Adaptive Heuristics for Energy and"
            " Performance Efficient Dynamic Consolidation of Virtual Machines in Cloud Data"
            " Centers",
            "Concurrency and Computation: Practice and Experience",
            2012,
        ),
        Paper(
            "schulman2017proximal",
            "misc",
            "John Schulman and Filip Wolski and Prafulla Dhariwal and Alec Radford and Oleg Klimov",
            "Proximal Policy Optimization Algorithms",
            "arXiv:1707.06347",
            2017,
        ),
        Paper(
            "mnih2015human",
            "article",
            "Volodymyr Mnih and Koray Kavukcuoglu and David Silver and others",
            "Human-level Control through Deep Reinforcement Learning",
            "Nature",
            2015,
        ),
        Paper(
            "espeholt2018impala",
            "inproceedings",
            "Lasse Espeholt and Hubert Soyer and Remi Munos and others",
            "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner"
            " Architectures",
            _ICML,
            2018,
        ),
        Paper(
            "liang2018rllib",
            "inproceedings",
            "Eric Liang and Richard Liaw and Robert Nishihara and others",
            "RLlib: Abstractions for Distributed Reinforcement Learning",
            _ICML,
            2018,
        ),
        Paper(
            "wang2018exponentially",
            "inproceedings",
            "Qing Wang and Jiechao Xiong and Lei Han and Peng Sun and Han Liu and Tong Zhang",
            "Exponentially Weighted Imitation Learning for Batched Historical Data",
            _NEURIPS,
            2018,
        ),
        Paper(
            "pomerleau1989alvinn",
            "inproceedings",
            "Dean A. Pomerleau",
            "ALVINN: An Autonomous Land Vehicle in a Neural Network",
            _NEURIPS,
            1989,
        ),
        Paper(
            "moritz2018ray",
            "inproceedings",
            "Philipp Moritz and Robert Nishihara and Stephanie Wang and others",
            "Ray: A Distributed Framework for Emerging AI Applications",
            "USENIX Symposium on Operating Systems Design and Implementation (OSDI)",
            2018,
        ),
    )
}
