# Suspended comes before an unknown model, an unknown model before money.
# H6 U2

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
open      ada credit 0
ask       r1 ada mystery bytes 5000 max 10 -> refused 412 "is suspended", unchanged
grant     ada 0.001
ask       r1 ada mystery bytes 5000 max 10 -> refused 404 "does not exist", unchanged, UNSUSPENDED
ask       r1 ada tiny bytes 5000 max 10  -> refused 402 "Not enough credit", unchanged
ask       r1 ada tiny bytes 5000 max 0   -> refused 400 "whole number", unchanged
suspend   ada "stolen card"
ask       r1 ada tiny bytes 10 max 10    -> refused 412 "stolen card" "contact support", unchanged
