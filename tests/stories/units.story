# Models are sold by images, steps, minutes, searches, training tokens and GPU-hours, with tokens or without.
# M2, M3, P5, P6, P7, S56

at 2026-03-01 09:00
prices flux     image 0.04 step 0.00013
prices whisper  audio_minute 0.006
prices rerank   search 0.002
prices tuned    training 3.00
prices a100     gpu_hour 3.89
prices omni     in 5.00 out 25.00 image_output 40.00 image 0.01
open   ada
grant  ada 999.00

usage  ada flux images 3 image_steps 90                                      -> credit 999.8683
usage  ada whisper audio_milliseconds 8470                                   -> credit 999.867453
usage  ada rerank search_units 5                                             -> credit 999.857453
usage  ada tuned training_tokens 1500000                                     -> credit 995.357453
usage  ada a100 gpu_seconds 86400                                            -> credit 901.997453
usage  ada omni in 100 out 1000 image_output_tokens 1000 images 1            -> credit 901.946953
# In a batch tokens cost half, and an image what it costs.
usage  ada omni in 100 out 1000 image_output_tokens 1000 images 1 batch      -> credit 901.916703
# A kind of tokens without a price is a plain one, and so on one line with them.
usage  ada omni in 100 audio_input_tokens 100 out 0                          -> credit 901.916203
