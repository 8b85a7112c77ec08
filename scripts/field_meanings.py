"""What columns and fields mean, where the code has no sentence; scripts/reference.py prints it."""

RADIOGRAPH_COLUMNS: dict[str, tuple[str, str]] = {
    "file_name": ("string", "last part of the path; the key that label tables are joined on"),
    "path": ("string", "full path or URL"),
    "length": ("bigint", "bytes of the file"),
    "modification_time": ("timestamp", "of the file"),
    "image": (
        "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>",
        "Spark's image struct, one 8-bit channel, rows first; null where rejected",
    ),
    "status": ("string", '"ok" or "rejected"'),
    "reason": ("string", "code of [reasons.md](reasons.md) where rejected, else null"),
    "detail": ("string", "the reason in words, without patient data"),
    "source_format": ("string", '"png", "jpeg" or "dicom"'),
    "source_bits": ("int", "significant bits per sample in the file"),
    "modality": ("string", "DICOM Modality: DX, CR, ..."),
    "view": ("string", "DICOM ViewPosition: PA, AP, LATERAL, ..."),
    "patient_id": ("string", "DICOM PatientID, as stored"),
    "age_years": ("double", "DICOM PatientAge in years"),
    "sex": ("string", "DICOM PatientSex: M, F or O"),
    "sop_instance_uid": ("string", "DICOM SOPInstanceUID"),
    "warnings": ("array<string>", "what was tolerated in the file, as short codes"),
}
LABEL_COLUMNS: dict[str, tuple[str, str]] = {
    "file_name": ("string", "image the row is about; occurs once"),
    "patient_id": ("string", "what splits keep together"),
    "labels": ("array<float>", "1, 0 or null (unknown) per finding; names in the metadata"),
    "age_years": ("double", "null above 120"),
    "sex": ("string", "M, F or O"),
    "view": ("string", "upper case: PA, AP, ..."),
    "follow_up": ("int", "number of the examination, counted per patient"),
}
MEANINGS: dict[str, dict[str, str]] = {
    "metrics.json": {
        "mean_auroc": "mean over the findings that have an AUC; null if none has",
        "mean_auroc_ci95": "[low, high], 95 % bootstrap interval over patients",
        "num_images": "images scored",
        "num_patients": "their patients; null if not known (each image then counts as one)",
        "macro": "mean over the findings that have an AUC, by metric: auroc, auprc, brier, "
        "log_loss, each with its _ci95",
        "prevalence_weighted": "the same, each finding weighing as much as its prevalence",
        "findings": "by name, in label order",
        "findings.NAME.auroc": "exact AUC; null where the known labels have one value",
        "findings.NAME.auroc_ci95": "[low, high]; null with three or fewer patients of one kind",
        "findings.NAME.positives": "images with the finding",
        "findings.NAME.images": "images whose label is known",
        "findings.NAME.prevalence": "positives / images",
        "findings.NAME.roc": "corners of the curve, at most 500: fpr, tpr, thresholds "
        "(the first threshold, above every score, is null)",
        "findings.NAME.auprc": "average precision (area under the precision-recall curve); a model "
        "that guesses gets `prevalence`",
        "findings.NAME.auprc_ci95": "as auroc_ci95",
        "findings.NAME.brier": "mean squared distance of probability and label",
        "findings.NAME.brier_ci95": "as auroc_ci95",
        "findings.NAME.log_loss": "mean -log(probability of what was there), natural logarithm",
        "findings.NAME.log_loss_ci95": "as auroc_ci95",
        "findings.NAME.pr": "corners of the precision-recall curve, at most 500: recall, "
        "precision, thresholds (the first is null)",
        "findings.NAME.reliability": "bins of equally many images by probability: images, "
        "mean_probability, share (that has the finding), standard_error; ece, ece_debiased "
        "(without what chance adds), squared_error (unbiased, may be negative); null as auroc",
        "findings.NAME.operating_points": "by rule, at the bundle's frozen threshold: threshold, "
        "true_positives, false_positives, false_negatives, true_negatives; sensitivity, "
        "specificity, ppv, npv, f1, lr_positive, lr_negative, each with its _ci95; at_prevalence: "
        "lists of ppv and npv at other prevalences",
        "any_finding": "all findings folded into one, fields as under findings.NAME",
        "by_view": "by view (PA, AP, unknown), most images first",
        "by_view.VIEW.images": "images of this view",
        "by_view.VIEW.patients": "their patients",
        "by_view.VIEW.mean_auroc": "as above, on these images only",
        "by_view.VIEW.mean_auroc_ci95": "as above",
        "by_view.VIEW.findings_scored": "how many findings the mean is over; compare means only "
        "where these agree",
        "by_view.VIEW.any_finding": "as above",
        "bootstrap": "how the intervals were drawn",
        "bootstrap.unit": '"patient", or "image" where patients are not known',
        "bootstrap.resamples": "draws",
        "bootstrap.seed": "seed of the draws",
    },
    "bundle manifest": {
        "format": '"hilum-bundle"',
        "format_version": "readers refuse versions they do not know",
        "architecture": "name of the network",
        "network": "how it is built where the name does not say it: head, normalisation, recipe, "
        "SHA-256 of files in BUNDLE/network; null for networks of libraries",
        "findings": "names of the outputs, in order",
        "dropout": "dropout before the head, in training",
        "preprocessing": "the whole chain as JSON",
        "weights_sha256": "SHA-256 of weights.safetensors",
        "outliers_sha256": "SHA-256 of outliers.safetensors; null without that score",
        "provenance": "settings, start weights, versions, split rule, counts of the data",
        "metrics": "epoch, valid_loss, valid_mean_auroc of the epoch kept",
        "decision_rules": "what turns scores into decisions, null where none could be fitted: "
        "split, images, patients (what it was fitted on); calibration by finding: method, slope, "
        "intercept, positive_patients, negative_patients, note; operating_points, the default one "
        "first: rule, description, thresholds by finding (on calibrated probabilities; present at "
        "or above; null where none could be chosen), images, patients, notes",
    },
    "cache manifest": {
        "format_version": "readers refuse versions they do not know",
        "fingerprint": "hash of all that pixels and index depend on; the folder's name",
        "image_shape": "[C, H, W] of every image",
        "num_images": "images in all shards",
        "preprocessing": "the deterministic chain that made the pixels, as JSON",
        "shards": "list of files: name, num_images, sha256",
        "index": "the index file: name, num_images, sha256",
        "rejected": "images left out: {reason: count}",
    },
    "history.json": {
        "epoch": "counted from 0",
        "step": "optimizer steps so far",
        "train_loss": "mean over the known labels since the last record, while the weights move",
        "valid_loss": "on the whole validation split; null without one",
        "valid_mean_auroc": "likewise; null where no finding has both label values",
        "valid_auroc": "the same per finding, in the order of the model's findings",
        "valid_accuracy": "of classifiers: weighted share of validation rows called right",
        "valid_log_loss": "of classifiers: weighted mean of -log of the true class's probability",
        "lr": "learning rate of the last step",
        "images_per_s": "training images per second over all ranks, validation not counted",
        "seconds": "since the last record, validation included",
    },
    "environment.json": {
        "created": "UTC, ISO 8601",
        "command": "as typed, without home directory, user name and secrets; notebook, python",
        "versions": "by package, where the run was started",
        "driver": "system, processor, cores, memory_gib, gpus of that machine",
        "leader": "the same, with versions, of the machine rank 0 computes on",
        "spark": "version, executors, cores_per_executor, master and memory settings; null without",
        "git": "commit of the current directory, and whether tracked files had changed; null "
        "outside of a checkout",
    },
    "hilum runs": {
        "name": "folder, as given or found",
        "architecture": "name of the network",
        "state": "running, done, failed or stopped",
        "reason": "why it ended, where known",
        "epochs": "validated so far",
        "max_epochs": "epochs of the run",
        "best_epoch": "the one that becomes the model, counted from 1; null before the first",
        "valid_loss": "of the best epoch",
        "valid_mean_auroc": "of the best epoch",
        "images_per_s": "median over validations",
        "seconds": "of training and validation",
    },
    "progress.json": {
        "phase": "what the ranks do: features, training, validating, done",
        "epoch": "counted from 0",
        "max_epochs": "epochs of the run",
        "step": "steps done in this epoch",
        "num_steps": "steps of an epoch",
        "images_per_s": "over all ranks",
        "loss": "mean training loss of the epoch so far",
        "lr": "learning rate now",
        "seconds_left": "estimate to the end of the last epoch; null before there is one",
        "warning": "what the user should know now, such as storage that cannot be written",
    },
    "ingest": {
        "files": "files found",
        "ok": "files decoded",
        "rejected": "files refused",
        "reasons": "{code: count}, only codes that occurred",
    },
}
