"""FirePlace (MLSys 2021): placing micro-VMs on machines by hindsight imitation."""
