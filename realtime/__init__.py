"""The stage: microphone or file in, timbre-edited sound out. Never imports torch.

One sound, whatever brings it      session: step (spectrum → engine → edits → morph), convolver, wayout (resynth…),
guard; render, worker What can be turned                 controls, desk; knobmap, mapfile, learn, takeover, feedback;
midi…, osc…; timbres, snapshots… The control process                run, options, stage → performance, live, supervise;
controllers, monitor, keyboard, recorder The audio process                  stream, player, callback, watch; devices,
openings, trial Between the two                    shared, meters, published
"""
