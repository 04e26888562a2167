# When is nothing left? Below $0.0001, or below $0.001 once a request was refused while none ran. The dust stays theirs.
# U7 H2 H3

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80

open      ada
spend     ada 0.9999                     -> UNSUSPENDED, credit 0.0001
spend     ada 0.000000001                -> CREDIT_DEPLETED, credit 0.000099999

# 5,080 tokens of input cost more than is left. At $0.001 a refusal is only a refusal, below it is the end.
open      bob
spend     bob 0.999                      -> credit 0.001
ask       r1 bob tiny bytes 5000 max 10  -> refused 402 "Not enough credit: $0.001 is left" "shorten", UNSUSPENDED
spend     bob 0.000000001                -> UNSUSPENDED
ask       r1 bob tiny bytes 5000 max 10  -> refused 402 "Not enough credit", CREDIT_DEPLETED, credit 0.000999999
ask       r1 bob tiny bytes 10 max 1     -> refused 412
grant     bob 0.10                       -> UNSUSPENDED, credit 0.100999999

# While another request runs, its end may free enough: no suspension.
open      cyd
spend     cyd 0.9992
ask       r1 cyd tiny bytes 10 max 10    -> held 0.000026
ask       r2 cyd tiny bytes 5000 max 10  -> refused 402, UNSUSPENDED
void      r1                             -> UNSUSPENDED
ask       r2 cyd tiny bytes 5000 max 10  -> refused 402, CREDIT_DEPLETED

# The limit is treated alike.
open      demo
card      demo visa
spend     demo 49.9995                   -> UNSUSPENDED
ask       r3 demo tiny bytes 5000 max 10 -> refused 402 "monthly spend limit: $0.0005 is left" "Raise the limit"
  -> MONTHLY_SPEND_LIMIT_EXCEEDED
buy       demo 50.00                     -> UNSUSPENDED, limit 500.00
open      acme
card      acme visa
spend     acme 49.9999                   -> UNSUSPENDED
spend     acme 0.000000001               -> MONTHLY_SPEND_LIMIT_EXCEEDED
