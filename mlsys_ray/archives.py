"""Public data sets: where each is, what it must be, and under which terms it may be used."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A file that its publisher offers for download.

    Attributes:
        url: where it is.
        checksum: `algorithm:hex`; None where none is known: then the checksum of the user's first
            download is recorded, and demanded of every later one.
        file: its name in the user's cache.
        folder: the folder of the cache it is unpacked to; None: it is used as it is.
        use: what to do with it, `{path}` being where it lies in the end.
        terms: licence, and what to cite.
    """

    url: str
    checksum: str | None
    file: str
    folder: str | None = None
    use: str
    terms: str

    @property
    def path(self) -> str:
        """What is used of it, in the user's cache."""
        return self.folder or self.file


_AZURE = "https://github.com/Azure/AzurePublicDataset"
_TRACE = "mlsys-ray fireplace trace {path} --format "

ARCHIVES = {
    "cifar10": Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        checksum="md5:c58f30108f718f92721af3b95e74349a",
        file="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        use="mlsys-ray byzshield train --dataset cifar10",
        terms="Krizhevsky, 2009",
    ),
    "openb": Archive(
        url="https://raw.githubusercontent.com/alibaba/clusterdata/master/cluster-trace-gpu-v2023/csv/openb_pod_list_default.csv",
        checksum="sha256:1ee7ed79c27a3b0861cda8ddba86a004c6aba904caafa329a76ae93ca63834a8",
        file="openb_pod_list_default.csv",
        use="mlsys-ray fireplace evaluate --trace openb+planetlab",
        terms="for research; Weng et al., ATC 2023",
    ),
    "planetlab": Archive(
        url="https://github.com/beloglazov/planetlab-workload-traces/archive/refs/heads/master.zip",
        # Not one of the zip file: GitHub makes it anew and does not promise the same bytes.
        checksum=None,
        file="planetlab-workload-traces.zip",
        folder="planetlab-workload-traces-master",
        use="mlsys-ray fireplace evaluate --trace openb+planetlab",
        terms="public monitoring data; Park and Pai, 2006; Beloglazov and Buyya, 2012",
    ),
    "azure_functions_2019": Archive(
        url=f"{_AZURE}/releases/download/dataset-functions-2019/azurefunctions_dataset2019_azurefunctions-dataset2019.tar.xz",
        checksum="sha256:aff8b3ca7240a41a109e4ee598e0a96e45fcb92e7b8395ac19cb3748cd260d89",
        file="azure-functions-2019.tar.xz",
        folder="azure-functions-2019",
        use=(
            "mlsys-ray fireplace trace {path}/invocations_per_function_md.anon.d01.csv"
            " --format azure_functions_2019"
        ),
        terms="CC-BY; Shahrad et al., ATC 2020",
    ),
    "azure_functions_2021": Archive(
        url=f"{_AZURE}/raw/master/data/AzureFunctionsInvocationTraceForTwoWeeksJan2021.rar",
        checksum="sha256:8bb5d1c82e89e467062b6582996232df24edfebadbaf3287a8c985ca178ba92d",
        file="AzureFunctionsInvocationTraceForTwoWeeksJan2021.rar",
        use=(
            "unrar x {path} (a RAR 5 file, which Python's library cannot unpack), then mlsys-ray"
            " fireplace trace AzureFunctionsInvocationTraceForTwoWeeksJan2021.txt --format"
            " azure_functions_2021"
        ),
        terms="CC-BY; Zhang et al., SOSP 2021",
    ),
    "azure_vm_2017": Archive(
        url=f"{_AZURE}/releases/download/dataset-v1/trace_data_vmtable_vmtable.csv.gz",
        checksum=None,
        file="azure-vm-2017-vmtable.csv.gz",
        use=_TRACE + "azure_vm",
        terms="CC-BY; Cortez et al., SOSP 2017",
    ),
    "azure_vm_2019": Archive(
        url=f"{_AZURE}/releases/download/dataset-v2/trace_data_vmtable_vmtable.csv.gz",
        checksum="sha256:e8c9a0ab0e06b4322747147b49f8b44c07cf017327a150a92b6fb95aab8de3e5",
        file="azure-vm-2019-vmtable.csv.gz",
        use=_TRACE + "azure_vm",
        terms="CC-BY; Cortez et al., SOSP 2017",
    ),
    "azure_packing_2020": Archive(
        url=f"{_AZURE}/releases/download/dataset-packing-2020/azurevmallocation_dataset2020_AzurePackingTraceV1.zip",
        checksum=None,
        file="azure-packing-2020.zip",
        folder="azure-packing-2020",
        use=(
            "mlsys-ray fireplace trace {path}/packing_trace_zone_a_v1.sqlite"
            " --format azure_packing_2020"
        ),
        terms="CC-BY; Hadary et al., OSDI 2020",
    ),
    "huawei_east_1": Archive(
        url="https://github.com/mail-ecnu/VMAgent/raw/master/vmagent/data/Huawei-East-1.csv",
        checksum=None,
        file="Huawei-East-1.csv",
        use=_TRACE + "huawei_east_1",
        terms="CC-BY-NC-SA; Sheng et al., VMAgent, 2021",
    ),
}
"""Name -> archive."""
