# A running deployment stops exactly at the limit or with the credit, and when its account is suspended.
# P6, L4, U5, A4, H8, S59, S61, S74

policy fleet simulated
policy ready-seconds 60
at 2026-03-01 09:00
prices NVIDIA_H100_80GB gpu_hour 7.00
prices tiny in 0.20 out 0.80

# The credit of a dollar lasts for 514.3 seconds.
open   eve
deploy eve own NVIDIA_H100_80GB min 1
advance 1 minute                          -> credit 1.00, held 1.00, mails warning, deployment own READY 1 of 1
advance 1 hour                              -> credit 0, CREDIT_DEPLETED, held 0, gpu-seconds 515, mails warning stopped
                                            -> deployment own READY 0 of 0 CREDIT_DEPLETED
deploy eve two NVIDIA_H100_80GB             -> refused 412 "is suspended", unchanged
scale  eve own 1                            -> refused 412 "is suspended", unchanged

# The limit, shared with inference.
open   ada credit 0
card   ada visa
limit  ada 20
deploy ada own NVIDIA_H100_80GB gpus 2 min 1
advance 1 minute
advance 1 hour                              -> spent 14.00
# What is held ahead for the deployment is nobody else's.
spend  ada 3.80                             -> refused 402 "$3.666666667 is left", unchanged
spend  ada 3.00                             -> spent 17.00, UNSUSPENDED
advance 1 hour                              -> spent 20.00, MONTHLY_SPEND_LIMIT_EXCEEDED
                                            -> mails warning stopped
                                            -> deployment own READY 0 of 0 MONTHLY_SPEND_LIMIT_EXCEEDED
# It does not start again by itself: somebody scales it, or a request comes (S59), and nothing is paid until it is ready.
limit  ada 50                               -> UNSUSPENDED
advance 1 hour                              -> spent 20.00
traffic ada own                             -> spent 20.00, deployment own READY 0 of 1
advance 1 minute                            -> spent 20.00, deployment own READY 1 of 1
advance 30 minutes                          -> spent 27.00

# S61: suspended while it runs, it stops at that instant.
suspend ada "looks odd"                     -> BLOCKED_BY_ABUSE_RULE, spent 27.00, held 0
advance 1 hour                              -> spent 27.00
                                            -> deployment own READY 0 of 0 BLOCKED_BY_ABUSE_RULE
reinstate ada                               -> UNSUSPENDED
advance 1 hour                              -> spent 27.00
undeploy ada own

# S74: a user's cap counts requests, and not what a deployment costs.
usage-limit ada 4.00
deploy ada uncapped NVIDIA_H100_80GB min 1
advance 1 minute
advance 1 hour                              -> spent 34.00, used 3.00
undeploy ada uncapped

# Nobody comes round while two of them share the last dollars: together they cost no more than there is.
limit  ada 40
deploy ada one NVIDIA_H100_80GB min 1
deploy ada two NVIDIA_H100_80GB min 1
advance 5 hours                             -> spent 40.00, MONTHLY_SPEND_LIMIT_EXCEEDED, held 0

# What is reserved for an account is not billed on demand.
open    bob mode contract
reserve bob NVIDIA_H100_80GB 2 from 2026-03-01 until 2026-03-02
deploy  bob own NVIDIA_H100_80GB gpus 3 min 1
advance 1 minute
advance 1 hour                              -> spent 7.00
undeploy bob own
