# Replicas that an orchestrator reports: only those that are ready and wanted are paid for.
# P6, S54

at 2026-03-01 09:00
prices NVIDIA_H100_80GB gpu_hour 7.00
open   ada mode contract
deploy ada own NVIDIA_H100_80GB min 1 max 3  -> deployment own CREATING 0 of 1
advance 1 hour                               -> spent 0
ready  ada own 1                             -> deployment own READY 1 of 1
advance 1 hour                               -> spent 7.00
scale  ada own 3
advance 30 minutes                           -> spent 10.50
ready  ada own 3
advance 30 minutes                           -> spent 21.00
# From a scale-down on nobody pays for what it takes to stop.
scale  ada own 1
advance 1 hour                               -> spent 28.00, deployment own READY 3 of 1
ready  ada own 0
advance 1 hour                               -> spent 28.00
undeploy ada own
