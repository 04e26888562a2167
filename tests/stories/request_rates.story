# Requests per minute: ten without a payment method, 6,000 with one, in prepaid with credit too; all endpoints together.
# Q1 S39 S40 S41

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
open      ada
calls     ada 4
gateway   g2                       # however many gateways there are
calls     ada 6
calls     ada 1                    -> refused 429 "over 10 requests per minute", unchanged, UNSUSPENDED
gateway   g1
calls     ada 1                    -> refused 429 "over 10 requests per minute"

card      ada visa                 # lifts the rate at once; the ten of this minute count toward it
calls     ada 3000
gateway   g2
calls     ada 2990
calls     ada 1                    -> refused 429 "over 6000 requests per minute"

uncard    ada                      # and the 6,000 of this minute count toward the lower rate
calls     ada 1                    -> refused 429 "over 10 requests per minute"

open      bob mode prepaid credit 0
card      bob visa                 -> CREDIT_DEPLETED
calls     bob 10
calls     bob 1                    -> refused 429 "over 10 requests per minute"
grant     bob 5.00                 -> UNSUSPENDED
calls     bob 1000
