# Several causes at once: the strictest is shown first, each has its own way back, and one lifted leaves the others.
# U1 U4, S25

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
open      ada credit 0
card      ada chargeCustomerFail
limit     ada 20
spend     ada 10.00
month     2026-03                        -> FAILED_PAYMENTS, invoice 10.00 FAILED
usage     ada 20.00                      -> FAILED_PAYMENTS MONTHLY_SPEND_LIMIT_EXCEEDED

# S25: the limit raised, the failed payment still holds it.
limit     ada 50                         -> FAILED_PAYMENTS
limit     ada 20                         -> FAILED_PAYMENTS MONTHLY_SPEND_LIMIT_EXCEEDED
suspend   ada "resold keys"              -> BLOCKED_BY_ABUSE_RULE FAILED_PAYMENTS MONTHLY_SPEND_LIMIT_EXCEEDED
uncard    ada
  -> BLOCKED_BY_ABUSE_RULE FAILED_PAYMENTS MONTHLY_SPEND_LIMIT_EXCEEDED CREDIT_DEPLETED
ask       r1 ada tiny bytes 10 max 10    -> refused 412 "is suspended" "resold keys" "ADA-0001" "monthly spend limit"

# Facts are lifted by facts: the operator can lift a block, nothing else.
reinstate ada CREDIT_DEPLETED            -> refused 409 "facts", unchanged
reinstate ada                            -> FAILED_PAYMENTS MONTHLY_SPEND_LIMIT_EXCEEDED CREDIT_DEPLETED
reinstate ada                            -> refused 409 "facts", unchanged
grant     ada 5.00                       -> FAILED_PAYMENTS MONTHLY_SPEND_LIMIT_EXCEEDED
grant     ada 10.00 purchased            -> MONTHLY_SPEND_LIMIT_EXCEEDED, invoice 10.00 PAID
limit     ada 50                         -> UNSUSPENDED
suspend   ada "resold keys"              -> BLOCKED_BY_ABUSE_RULE
reinstate ada                            -> UNSUSPENDED
reinstate ada                            -> refused 409 "not blocked", unchanged
