"""The parameters and attributes that all methods share, in words: once for all docstrings."""

SHARED = """n_clusters : int, default=8
        Number of clusters K.
    backbone : str, nn.Module or callable, default="auto"
        ``"resnet18"``, ``"resnet34"``, ``"resnet50"``, ``"convnet"`` (small), ``"mlp"``,
        ``"identity"`` or ``"timm:NAME"``; a module with the attribute ``num_features``, which
        is copied, and trained in train mode; or a callable ``shape -> module``. ``"auto"`` takes
        the MLP for vectors, the small net for images up to 16 x 16 and, on a CPU, for images up
        to 64 x 64 or fewer than 20,000 of them, and ResNet-18 otherwise, and wherever there are
        `weights`.
    stem : {{"auto", "small", "small-pool", "imagenet"}}, default="auto"
        First layers of a ResNet: 3x3 without pooling, 3x3 with it or 7x7 with it. ``"auto"``
        is small up to a side of 64, unless there are `weights`.
    weights : None, "DEFAULT" or path, default=None
        What the backbone starts from: random weights; those for ImageNet of torchvision or
        timm, which are downloaded once; or a file, safetensors or a state dict of
        ``torch.save``. With weights of timm, or of a ResNet for ImageNet, images are
        standardised as these expect.
    freeze_backbone : bool, default=False
        Train the heads only, on features of the backbone as it is. They are computed once
        with ``augment="features"``, ``"vectors"`` or None, which is quick; otherwise for each
        view.
    image_shape : (C, H, W), default=None
        Unflattens 2-D rows into images and settles the layout of 4-D input; for image files
        and Datasets of uint8 images, what the network sees of each. None means that 2-D rows
        are vectors, that files are seen at 96 x 96, or as they are if they all have one size
        that is no larger, and the items of a Dataset as they are if they have one size.
    augment : str, callable, tuple of callables or None, default="auto"
        A preset (see :mod:`skdeepclust.augment.presets`), a module or function on a batch,
        one such per view, or None for no augmentation. ``"auto"`` takes the preset for
        colour images, grey images or vectors.
    embedding_dim : int, default={embedding_dim}
        Dimension of the representation that is clustered.
    hidden_dim : int or None, default={hidden_dim}
        Width of the hidden layers of the heads; None, for IDFD and SeCu, is a linear head.
    max_epochs : int, default={max_epochs}
        Passes over the training samples.
    batch_size : int, default={batch_size}
        Samples per step, of all processes together. The default is fewer on up to 10,000
        samples: an epoch then takes at least {least_steps} steps, as long as they have 64
        samples; ``net_.batch_size`` tells. Any other number is taken as it is.
    norm_batch_size : int, default=None
        Ghost batch norm: take training statistics over so many samples at a time, as a run
        on several devices does. None takes the whole batch.
    optimizer : {{"sgd", "adamw", "lars"}}, default={optimizer!r}
        Optimizer; weight decay applies to all parameters (LARS: to matrices only).
    lr : float, default={lr}
        Peak learning rate.
    momentum : float, default={momentum}
        Momentum; beta1 of AdamW.
    weight_decay : float, default={weight_decay}
        Weight decay.
    schedule : str, default={schedule!r}
        Course of the learning rate: ``"cosine"``, ``"delayed-cosine"``, ``"multistep"``,
        ``"onecycle"`` or ``"constant"``, see
        :func:`skdeepclust.engine.schedule.lr_factor`.
    warmup_epochs : float, default={warmup_epochs}
        Epochs of linear learning-rate warm-up.
    device : str or torch.device, default="auto"
        ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {{"auto", "float32", "bfloat16", "float16", "float64"}}, default="auto"
        What training computes in; the half types by autocast. ``"auto"`` is bfloat16 for
        images where the hardware has it, else float32. Embeddings and predictions that you get
        are always computed in float32 (float64 for ``"float64"``).
    compile : bool, default=False
        Compile the training step with ``torch.compile``. The first steps then take a minute
        or more: it pays in long runs on accelerators, not on a CPU. If the step does not
        compile, training goes on without it, with a warning.
    callbacks : list of skorch callbacks, default=None
        Run inside training.
    checkpoint : path, default=None
        A folder that the state of the training is written to, and that ``fit`` goes on from when
        it holds one: with the same `X` and parameters the result is bitwise that of a training
        that nothing has interrupted. Ctrl-C and SIGTERM write the state after the current step.
        Delete the folder to start afresh.
    checkpoint_every : int, default=1
        Epochs between two states.
    on_error : {{"raise", "skip"}}, default="raise"
        What to do with image files and sub-folders that cannot be read: raise an error that
        names them, or leave them out. Files left out are listed in ``skipped_``; their label
        is -1 and their rows are NaN.
    deterministic : bool, default=False
        Bitwise repeatable on accelerators too, at some cost. CPUs repeat bitwise anyway for
        equal thread counts.
    random_state : int, RandomState or None, default=None
        Seed. The global generators are left as they were. Fits that run at once need processes
        of their own: threads share these generators.
    verbose : {{0, 1, 2}}, default=0
        0 is silent, 1 shows a progress bar with loss and cluster health, and one while files
        are read, 2 prints a line per epoch.
    storage : {{"auto", "device", "host", "stream"}}, default="auto"
        Where training images are held: decoded on the device, in the host's memory, or not
        at all, so that every epoch decodes the files again. ``"auto"`` takes the device where
        they take at most half of its free memory, else the host; files that would take more
        than a quarter of the host's free memory are not held.
    start_resolution : int, default=None
        Longer side, in pixels, of the views in the first half of `max_epochs`, which then
        trains faster; a common choice is three quarters of the images' side. Pseudo-labels
        from features, and predictions, use the full side throughout. None uses it always."""

ATTRIBUTES = """labels_ : ndarray of shape (n_samples,), int64
        Cluster of each training sample; equal to ``predict`` of them. Clusters that hold no
        sample come last.
    cluster_centers_ : ndarray of shape (n_clusters, embedding_dim), float32
        Centres in the embedding.
    n_iter_ : int
        Epochs trained.
    history_ : list of dict
        One row per epoch: ``epoch``, ``loss`` and its terms by name, ``lr``, ``seconds``,
        ``images_per_second``, ``label_change`` (share of samples that changed cluster since
        the epoch before), ``size_entropy`` (1 for equal sizes), ``empty_clusters`` and
        ``feature_std`` (about 1 / sqrt(embedding_dim) when healthy, 0 when collapsed).
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_.objective`` holds the networks.
    n_features_in_ : int
        C x H x W for images.
    image_shape_in_ : tuple (C, H, W) or None
        Shape of one training image; None for vectors.
    image_paths_ : list of str or None
        Training files in the order of `labels_`; None where X held no files.
    skipped_ : list of str
        Training files that could not be read, with ``on_error="skip"``."""
