# Deployments cost the GPU-seconds of their ready replicas, and nothing else.
# P6, M3, H7, S52, S53, S54, S55, S56, S57, S58, S60

policy fleet simulated
policy ready-seconds 240
at 2026-03-01 09:00
prices NVIDIA_H100_80GB gpu_hour 7.00
prices NVIDIA_A100_80GB gpu_hour 3.89
open   ada mode contract

# S54: created at t0, ready 240 s later, deleted 3,840 s after t0.
deploy ada one NVIDIA_H100_80GB min 1
advance 4 minutes                         -> spent 0, deployment one READY 1 of 1, held 1.166666667
advance 1 hour                              -> spent 7.00, gpu-seconds 3600
undeploy ada one                            -> spent 7.00, held 0, deployment one DELETED 0 of 0
advance 1 day                               -> spent 7.00

# S55: four GPUs for 90 minutes; S52: a second replica of them doubles it.
deploy ada four NVIDIA_H100_80GB gpus 4 min 1 max 2
advance 4 minutes
advance 90 minutes                          -> spent 49.00
scale  ada four 2                           -> deployment one DELETED 0 of 0, deployment four READY 1 of 2
advance 4 minutes                         -> spent 50.866666667
advance 1 hour                              -> spent 106.866666667
scale  ada four 0                           -> held 0
# S53: scaled to zero for 5 hours.
advance 5 hours                             -> spent 106.866666667
undeploy ada four

# S60: eight GPUs of each kind, six of them in use.
deploy ada six NVIDIA_H100_80GB gpus 6 min 1
deploy ada more NVIDIA_H100_80GB gpus 4     -> refused 429 "nvidia-h100-80gb", unchanged
gpu-quota ada NVIDIA_H100_80GB 10
deploy ada more NVIDIA_H100_80GB gpus 4
undeploy ada six
undeploy ada more                           -> gpu-seconds 54960

# S56: one replica at least, no traffic for a day: 24 × $3.89, however it was sliced.
at 2026-04-01 00:00
deploy ada idle NVIDIA_A100_80GB min 1
advance 4 minutes
advance 24 hours                            -> spent 93.36
undeploy ada idle                           -> spent 93.36

# S57: none at least, the last request at T, a window of 1 hour: billed until T + 1 hour.
deploy ada shy NVIDIA_H100_80GB
advance 4 minutes
advance 30 minutes
traffic ada shy
advance 2 hours                             -> spent 103.86
                                            -> deployment one DELETED 0 of 0, deployment four DELETED 0 of 0 CUSTOMER
                                            -> deployment six DELETED 0 of 0, deployment more DELETED 0 of 0
                                            -> deployment idle DELETED 0 of 0, deployment shy READY 0 of 0
traffic ada shy
advance 4 minutes
advance 2 hours                             -> spent 110.86
# S58: seven days without traffic.
advance 7 days                              -> spent 110.86, mails deleted
redeploy ada shy                            -> spent 110.86

# Slices end with their month.
at 2026-05-31 23:00
deploy ada late NVIDIA_H100_80GB min 1
advance 4 minutes
at 2026-06-01 01:00                         -> spent 7.00
undeploy ada late
show   ada 2026-05                          -> line 2026-05 NVIDIA_H100_80GB gpu_seconds 3360 6.533333333
